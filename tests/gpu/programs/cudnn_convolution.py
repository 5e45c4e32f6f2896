"""cuDNN by its C interface: a convolution and an activation, against the CPU."""
import ctypes

from _cuda import Runtime, check, library
from _figures import Figures

figures = Figures()
cuda = Runtime(figures)
cudnn = library(figures, "cudnn")
cudnn.cudnnGetVersion.restype = ctypes.c_size_t
NCHW, FLOAT, CROSS_CORRELATION, IMPLICIT_GEMM, RELU, KEEP_NAN = 0, 0, 1, 0, 1, 1  # cudnn_ops.h
CHANNELS, SIDE, FILTERS, REACH = 2, 8, 3, 3

handle = ctypes.c_void_p()
check(cudnn.cudnnCreate(ctypes.byref(handle)), "cudnnCreate")


def described(kind, *arguments, setter):
    """A descriptor of that kind, set by `setter`."""
    made = ctypes.c_void_p()
    check(getattr(cudnn, f"cudnnCreate{kind}Descriptor")(ctypes.byref(made)), f"cudnnCreate{kind}")
    check(getattr(cudnn, setter)(made, *arguments), setter)
    return made


x_shape = described("Tensor", NCHW, FLOAT, 1, CHANNELS, SIDE, SIDE,
                    setter="cudnnSetTensor4dDescriptor")
y_shape = described("Tensor", NCHW, FLOAT, 1, FILTERS, SIDE, SIDE,
                    setter="cudnnSetTensor4dDescriptor")
w_shape = described("Filter", FLOAT, NCHW, FILTERS, CHANNELS, REACH, REACH,
                    setter="cudnnSetFilter4dDescriptor")
convolution = described("Convolution", 1, 1, 1, 1, 1, 1, CROSS_CORRELATION, FLOAT,
                        setter="cudnnSetConvolution2dDescriptor")
activation = described("Activation", RELU, KEEP_NAN, ctypes.c_double(0),
                       setter="cudnnSetActivationDescriptor")

x_host = [float((i * 5) % 7 - 3) for i in range(CHANNELS * SIDE * SIDE)]
w_host = [float((i * 3) % 5 - 2) for i in range(FILTERS * CHANNELS * REACH * REACH)]
x, w = cuda.array(x_host), cuda.array(w_host)
y = cuda.array([0.0] * (FILTERS * SIDE * SIDE))
one, zero = ctypes.c_float(1), ctypes.c_float(0)
size = ctypes.c_size_t()
check(cudnn.cudnnGetConvolutionForwardWorkspaceSize(
    handle, x_shape, w_shape, convolution, y_shape, IMPLICIT_GEMM, ctypes.byref(size)),
      "cudnnGetConvolutionForwardWorkspaceSize")
space = cuda.room(max(size.value, 4))


def forward():
    check(cudnn.cudnnConvolutionForward(
        handle, ctypes.byref(one), x_shape, x, w_shape, w, convolution, IMPLICIT_GEMM, space, size,
        ctypes.byref(zero), y_shape, y), "cudnnConvolutionForward")


def on_the_cpu(filter_index, row, column):
    total = 0.0
    for channel in range(CHANNELS):
        for i in range(REACH):
            for j in range(REACH):
                r, c = row + i - 1, column + j - 1
                if 0 <= r < SIDE and 0 <= c < SIDE:
                    at = ((filter_index * CHANNELS + channel) * REACH + i) * REACH + j
                    total += x_host[(channel * SIDE + r) * SIDE + c] * w_host[at]
    return total


forward()
cuda.synchronize()
# Small whole numbers, so exact whatever the order of the sums.
wanted = [on_the_cpu(f, r, c) for f in range(FILTERS) for r in range(SIDE) for c in range(SIDE)]
print("convolution", cuda.floats(y, len(wanted)) == wanted)
check(cudnn.cudnnActivationForward(handle, activation, ctypes.byref(one), y_shape, y,
                                   ctypes.byref(zero), y_shape, y), "cudnnActivationForward")
print("activation", cuda.floats(y, len(wanted)) == [max(value, 0.0) for value in wanted])
figures.time("convolution 8x8", "us", forward, cuda.synchronize)
check(cudnn.cudnnDestroy(handle), "cudnnDestroy")
figures.write()
