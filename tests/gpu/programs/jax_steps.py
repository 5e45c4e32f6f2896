"""JAX: jit, grad, a scan, and a training step."""
import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
from _figures import Figures  # noqa: E402  JAX reads the variable when it is imported

figures = Figures()
jax = figures.need("jax")
jnp = figures.need("jax.numpy")

print("platform", jax.devices()[0].platform)
key = jax.random.PRNGKey(7)
x = jax.random.normal(key, (512, 512))
weights = jax.random.normal(key, (512, 10)) * 0.01
labels = jax.random.randint(key, (512,), 0, 10)


def loss(w):
    logits = jax.nn.log_softmax(x @ w)
    return -logits[jnp.arange(512), labels].mean()


step = jax.jit(lambda w: w - 0.1 * jax.grad(loss)(w))
before = loss(weights)
for _ in range(20):
    weights = step(weights)
print("loss", figures.rounded(before), "falls:", bool(loss(weights) < before))
total, _ = jax.lax.scan(lambda c, row: (c + row.sum(), None), 0.0, x)
print("scan", bool(jnp.allclose(total, x.sum(), rtol=1e-3, atol=1e-2)))
figures.time("jit step", "us", lambda: step(weights).block_until_ready(), lambda: None)
figures.write()
