/* As much of NVML as the GPU probe asks for, for machines without a GPU.
 *
 *   cc -shared -fPIC -o libnvidia-ml.so.1 fake_nvml.c
 *
 * Each of these macros, given with -D, breaks it in a way that real drivers do:
 *   WITHOUT_UUID, WITHOUT_MEMORY, WITHOUT_COUNT, WITHOUT_SHUTDOWN
 *                  an older driver that lacks the function
 *   LOST_GPU=n     GPU number n has fallen off its bus
 *   NO_DRIVER      the library is installed, the kernel module is not loaded
 */
#include <stdio.h>

/* Values of nvmlReturn_t. */
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };

enum { GPUS = 2 };

#ifndef LOST_GPU
#define LOST_GPU (-1)
#endif

struct device { int index; };

/* nvmlMemory_t, bytes. */
struct memory { unsigned long long total, free, used; };

static struct device devices[GPUS] = {{0}, {1}};

int nvmlInitWithFlags(unsigned int flags)
{
    (void)flags;
#ifdef NO_DRIVER
    return DRIVER_NOT_LOADED;
#else
    return SUCCESS;
#endif
}

#ifndef WITHOUT_SHUTDOWN
int nvmlShutdown(void)
{
    return SUCCESS;
}
#endif

#ifndef WITHOUT_COUNT
int nvmlDeviceGetCount_v2(unsigned int *count)
{
    *count = GPUS;
    return SUCCESS;
}
#endif

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, struct device **handle)
{
    if (index >= GPUS)
        return INVALID_ARGUMENT;
    if ((int)index == LOST_GPU)
        return GPU_IS_LOST;
    *handle = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetName(struct device *handle, char *name, unsigned int length)
{
    snprintf(name, length, "Pretend GPU %d", handle->index);
    return SUCCESS;
}

#ifndef WITHOUT_UUID
int nvmlDeviceGetUUID(struct device *handle, char *uuid, unsigned int length)
{
    snprintf(uuid, length, "GPU-%08d-0000-4000-8000-000000000000", handle->index);
    return SUCCESS;
}
#endif

#ifndef WITHOUT_MEMORY
int nvmlDeviceGetMemoryInfo(struct device *handle, struct memory *memory)
{
    memory->total = (8ULL + 8ULL * handle->index) << 30;
    memory->used = 1ULL << 30;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}
#endif
