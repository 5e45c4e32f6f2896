"""What nvml.py runs as somebody's programs: they know NVML and CUDA by name, and nothing of Farcall.

Usage: nvml_program.py CASE [ARGUMENT…]     prints one line of JSON; what waits ends with its input
"""
import atexit
import ctypes
import json
import os
import sys
import threading

NOT_SUPPORTED, INSUFFICIENT_SIZE = 3, 7


class Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class Process(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_uint), ("used", ctypes.c_ulonglong),
                ("instance", ctypes.c_uint), ("compute_instance", ctypes.c_uint)]


class Pci(ctypes.Structure):
    _fields_ = [("legacy", ctypes.c_char * 16), ("domain", ctypes.c_uint), ("bus", ctypes.c_uint),
                ("device", ctypes.c_uint), ("id", ctypes.c_uint), ("subsystem", ctypes.c_uint),
                ("bus_id", ctypes.c_char * 32)]


def must(result):
    assert result == 0, f"error {result}"


def nvml():
    """As pynvml, NCCL and PyTorch load it."""
    library = ctypes.CDLL("libnvidia-ml.so.1")
    library.nvmlErrorString.restype = ctypes.c_char_p
    return library


def text_of(function, *arguments):
    room = ctypes.create_string_buffer(96)
    must(function(*arguments, room, len(room)))
    return room.value.decode()


def handles(library):
    count = ctypes.c_uint()
    must(library.nvmlDeviceGetCount_v2(ctypes.byref(count)))
    found = []
    for index in range(count.value):
        found.append(ctypes.c_void_p())
        must(library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(found[-1])))
    return found


def processes_of(library, handle):
    count = ctypes.c_uint(0)
    result = library.nvmlDeviceGetComputeRunningProcesses_v3(handle, ctypes.byref(count), None)
    assert result == (INSUFFICIENT_SIZE if count.value else 0), result
    room = (Process * (count.value + 8))()
    count = ctypes.c_uint(len(room))
    must(library.nvmlDeviceGetComputeRunningProcesses_v3(handle, ctypes.byref(count), room))
    return [{"pid": one.pid, "used": one.used,
             "name": text_of(library.nvmlSystemGetProcessName, one.pid)}
            for one in room[:count.value]]


def look(library):
    devices = []
    for handle in handles(library):
        memory, pci, found = Memory(), Pci(), ctypes.c_void_p()
        must(library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)))
        must(library.nvmlDeviceGetPciInfo_v3(handle, ctypes.byref(pci)))
        must(library.nvmlDeviceGetHandleByPciBusId_v2(pci.bus_id, ctypes.byref(found)))
        assert found.value == handle.value
        uuid = text_of(library.nvmlDeviceGetUUID, handle)
        must(library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(found)))
        assert found.value == handle.value
        devices.append({"name": text_of(library.nvmlDeviceGetName, handle), "uuid": uuid,
                        "total": memory.total, "used": memory.used, "free": memory.free,
                        "processes": processes_of(library, handle)})
    return devices


def view():
    library = nvml()
    must(library.nvmlInit_v2())
    tell(devices=look(library), driver=text_of(library.nvmlSystemGetDriverVersion))
    must(library.nvmlShutdown())


def tell(**what):
    print(json.dumps(what), flush=True)


def hold(mebibytes):
    """Holds memory until a line comes, then half of it until the end of input."""
    cuda = ctypes.CDLL("libcuda.so.1")
    context, half = ctypes.c_void_p(), int(mebibytes) << 19
    must(cuda.cuInit(0))
    must(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
    must(cuda.cuCtxSetCurrent(context))
    blocks = [ctypes.c_uint64(), ctypes.c_uint64()]
    for block in blocks:
        must(cuda.cuMemAlloc_v2(ctypes.byref(block), ctypes.c_size_t(half)))
    tell(held=2 * half)
    sys.stdin.readline()
    must(cuda.cuMemFree_v2(blocks[0]))
    tell(held=half)
    sys.stdin.read()


def linger():
    """Only looks, and stays."""
    library = nvml()
    for _ in range(3):
        must(library.nvmlInit_v2())
        look(library)
        must(library.nvmlShutdown())
    tell(looked=True)
    sys.stdin.read()


def forks():
    """The child has what its parent had, and both go on to use CUDA."""
    library = nvml()
    must(library.nvmlInit_v2())
    before = look(library)
    child = os.fork()
    if child == 0:
        same = look(library) == before
        must(library.nvmlShutdown())
        must(library.nvmlInit_v2())
        os._exit(0 if same and ctypes.CDLL("libcuda.so.1").cuInit(0) == 0 else 1)
    _, status = os.waitpid(child, 0)
    must(ctypes.CDLL("libcuda.so.1").cuInit(0))
    tell(child=status, same=look(library) == before)


def threads():
    """Opening, closing and asking from many threads at once; the first of them does the looking."""
    library, failed = nvml(), []

    def use():
        try:
            for _ in range(20):
                must(library.nvmlInit_v2())
                look(library)
                must(library.nvmlShutdown())
        except AssertionError as wrong:
            failed.append(str(wrong))
    running = [threading.Thread(target=use) for _ in range(8)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    tell(failed=failed, closed=library.nvmlShutdown())


def ends():
    """What must not crash: calls before, after, at exit, and with nothing where something belongs."""
    library = nvml()
    count, handle = ctypes.c_uint(), ctypes.c_void_p()
    uninitialised = [library.nvmlDeviceGetCount_v2(ctypes.byref(count)), library.nvmlShutdown(),
                     library.nvmlDeviceGetTemperature(None, 0, None)]
    must(library.nvmlInit_v2())
    wrong = [library.nvmlDeviceGetCount_v2(None), library.nvmlDeviceGetName(None, None, 0),
             library.nvmlDeviceGetMemoryInfo(ctypes.c_void_p(8), ctypes.byref(Memory())),
             library.nvmlDeviceGetHandleByIndex_v2(99, ctypes.byref(handle))]
    must(library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)))
    short = library.nvmlDeviceGetName(handle, ctypes.create_string_buffer(4), 4)
    atexit.register(lambda: library.nvmlDeviceGetName(handle, ctypes.create_string_buffer(96), 96))
    tell(uninitialised=uninitialised, wrong=wrong, short=short)


def unsupported(*names):
    """Every name that is only a name, with nothing for arguments."""
    library = nvml()
    must(library.nvmlInit_v2())
    tell(others=[name for name in names if getattr(library, name)() != NOT_SUPPORTED])


def no_server():
    tell(init=nvml().nvmlInit_v2(), without=nvml().nvmlInitWithFlags(1),
         text=nvml().nvmlErrorString(9).decode())


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
