// Bodies attract each other: float4 loads, tiles in shared memory, reciprocal square roots.
#include "tests/e2e/programs/expect.h"

constexpr int kBodies = 1024, kBlock = 128;
constexpr float kSoftening = 0.01f, kStep = 0.001f;

__global__ void accelerate(const float4* bodies, float4* speeds) {
  __shared__ float4 tile[kBlock];
  const int self = blockIdx.x * kBlock + threadIdx.x;
  const float4 me = bodies[self];
  float3 pull = make_float3(0, 0, 0);
  for (int first = 0; first < kBodies; first += kBlock) {
    tile[threadIdx.x] = bodies[first + threadIdx.x];
    __syncthreads();
    for (int other = 0; other < kBlock; other++) {
      const float4 it = tile[other];
      const float dx = it.x - me.x, dy = it.y - me.y, dz = it.z - me.z;
      const float inverse = rsqrtf(dx * dx + dy * dy + dz * dz + kSoftening);
      const float strength = it.w * inverse * inverse * inverse;
      pull.x += dx * strength;
      pull.y += dy * strength;
      pull.z += dz * strength;
    }
    __syncthreads();
  }
  float4 speed = speeds[self];
  speed.x += pull.x * kStep;
  speed.y += pull.y * kStep;
  speed.z += pull.z * kStep;
  speeds[self] = speed;
}

__global__ void move(float4* bodies, const float4* speeds) {
  const int self = blockIdx.x * kBlock + threadIdx.x;
  float4 me = bodies[self];
  const float4 speed = speeds[self];
  me.x += speed.x * kStep;
  me.y += speed.y * kStep;
  me.z += speed.z * kStep;
  bodies[self] = me;
}

int main() {
  Random random(17);
  std::vector<float4> bodies(kBodies);
  for (float4& body : bodies) {
    body = make_float4(random.unit() - 0.5f, random.unit() - 0.5f, random.unit() - 0.5f,
                       0.5f + random.unit());
  }
  float4* device = to_device(bodies);
  float4* speeds = to_device(std::vector<float4>(kBodies, make_float4(0, 0, 0, 0)));
  for (int step = 0; step < 10; step++) {
    accelerate<<<kBodies / kBlock, kBlock>>>(device, speeds);
    move<<<kBodies / kBlock, kBlock>>>(device, speeds);
  }
  CUDA_OK(cudaGetLastError());
  std::vector<float4> speed = to_host(speeds, kBodies);

  // Action equals reaction: whatever the bodies did, the whole keeps its momentum, which was zero.
  double x = 0, y = 0, z = 0, largest = 0;
  for (int i = 0; i < kBodies; i++) {
    x += bodies[i].w * speed[i].x;
    y += bodies[i].w * speed[i].y;
    z += bodies[i].w * speed[i].z;
    largest = std::fmax(largest, std::fabs(speed[i].x));
  }
  EXPECT(largest > 0.1);
  EXPECT(std::fabs(x) < 0.05 && std::fabs(y) < 0.05 && std::fabs(z) < 0.05);
  std::printf("nbody: %d bodies, momentum kept, fastest along x %.2f\n", kBodies, largest);
  CUDA_OK(cudaFree(device));
  CUDA_OK(cudaFree(speeds));
  return 0;
}
