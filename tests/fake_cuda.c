/* A CUDA driver without a GPU, to test the host's side: memory is the host's, streams run at once,
   launches are recorded instead of run. Build: cc -shared -fPIC fake_cuda.c -o libcuda.so.1

   FAKE_CUDA_DEVICES (1) is the number of devices, FAKE_CUDA_MEMORY (1 GiB) the bytes of each,
   FAKE_CUDA_SILENT makes a launch do nothing but count. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, INVALID = 1, OUT_OF_MEMORY = 2, NO_CONTEXT = 201, MISSING = 500, UNSUPPORTED = 801 };
enum { PARAMETERS = 16, LAUNCHES = 64, HEADER = 512, HOST = 0x4000 };

typedef struct { int device, owned; size_t used, peak, reserved, reserved_peak; uint64_t threshold; } Pool;
typedef struct { Pool *pool; size_t size; char *base; } Block;
typedef struct { unsigned grid[3], block[3], shared; uint64_t stream; } Config;
typedef struct { Config config; char name[64]; uint64_t parameters[PARAMETERS]; } Launch;
typedef struct { int count; Launch launches[256]; } Graph;

static Pool pools[8];
static int contexts[8];
static __thread int current = -1;
static int parameter_count = 0, fail_next_sync = 0;
static Launch launches[LAUNCHES];
static int launched = 0, synchronised = 0, trimmed = 0, dynamic_shared = 0, collecting = 0;
static uint64_t waits = 0;
static void *capturing = 0; /* a stream whose launches are noted */
static Graph *noted = 0;

static int count(void) { const char *n = getenv("FAKE_CUDA_DEVICES"); return n ? atoi(n) : 1; }
static size_t capacity(void) {
    const char *n = getenv("FAKE_CUDA_MEMORY");
    return n ? strtoull(n, 0, 10) : (size_t)1 << 30;
}

/* -- for the test ------------------------------------------------------------------------------ */
int fake_launches(void) { return launched; }
int fake_synchronised(void) { return synchronised; }
int fake_trimmed(void) { return trimmed; }
int fake_collecting(void) { return collecting; }
int fake_waits(void) { return waits; }
int fake_dynamic_shared(void) { return dynamic_shared; }
void fake_parameters(int n) { parameter_count = n; }
void fake_fail_sync(void) { fail_next_sync = 1; }
const Launch *fake_launch(int i) { return &launches[i % LAUNCHES]; }

/* -- start and devices ------------------------------------------------------------------------- */
int cuInit(unsigned flags) { return count() ? OK : 100; }
int cuDriverGetVersion(int *v) { *v = 13000; return OK; }
int cuGetErrorName(int e, const char **s) {
    *s = e == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : e == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_FAKE";
    return OK;
}
int cuGetErrorString(int e, const char **s) {
    *s = e == OUT_OF_MEMORY ? "out of memory" : e == 700 ? "an illegal memory access was encountered" : "fake";
    return OK;
}
int cuDeviceGetCount(int *n) { *n = count(); return OK; }
int cuDeviceGet(int *d, int i) { *d = i; return i < count() ? OK : 101; }
int cuDeviceGetName(char *s, int n, int d) { snprintf(s, n, "Fake H200"); return OK; }
int cuDeviceGetPCIBusId(char *s, int n, int d) { snprintf(s, n, "0000:%02X:00.0", d + 1); return OK; }
int cuDeviceGetUuid(char *u, int d) { memset(u, d, 16); return OK; }
int cuDeviceGetUuid_v2(char *u, int d) { return cuDeviceGetUuid(u, d); }
int cuDeviceTotalMem(size_t *n, int d) { *n = capacity(); return OK; }
int cuDeviceTotalMem_v2(size_t *n, int d) { return cuDeviceTotalMem(n, d); }
int cuDeviceGetAttribute(int *v, int a, int d) {
    switch (a) {
    case 1: *v = 1024; break;   /* threads of a block */
    case 10: *v = 32; break;    /* warp size */
    case 16: *v = 132; break;   /* multiprocessors */
    case 38: *v = 50 << 20; break; /* L2 */
    case 39: *v = 2048; break;  /* threads of a multiprocessor */
    case 75: *v = 9; break;
    case 76: *v = 0; break;
    case 97: *v = 232448; break; /* shared memory, opt in */
    default: *v = 1;
    }
    return OK;
}
int cuDeviceCanAccessPeer(int *can, int d, int peer) { *can = d != peer; return OK; }
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = &contexts[d]; return OK; }
int cuDevicePrimaryCtxRelease(int d) { return OK; }
int cuDevicePrimaryCtxRelease_v2(int d) { return OK; }
int cuCtxSetCurrent(void *c) { current = c ? (int)((int *)c - contexts) : -1; return OK; }
int cuCtxGetCurrent(void **c) { *c = current < 0 ? 0 : &contexts[current]; return OK; }
int cuCtxGetDevice(int *d) { if (current < 0) return NO_CONTEXT; *d = current; return OK; }
int cuCtxGetId(void *c, uint64_t *id) { *id = (uint64_t)c; return OK; }
static int sync_now(void) {
    synchronised++;
    if (fail_next_sync) { fail_next_sync = 0; return 700; }
    return OK;
}
int cuCtxSynchronize(void) { return current < 0 ? NO_CONTEXT : sync_now(); }

/* -- streams and events ------------------------------------------------------------------------ */
typedef struct { int device; } Stream;
typedef struct { struct timespec at; } Event;
int cuStreamCreateWithPriority(void **s, unsigned f, int p) {
    if (current < 0) return NO_CONTEXT;
    Stream *made = malloc(sizeof *made);
    made->device = current;
    *s = made;
    return OK;
}
int cuStreamCreate(void **s, unsigned f) { return cuStreamCreateWithPriority(s, f, 0); }
int cuStreamDestroy_v2(void *s) { free(s); return OK; }
int cuStreamDestroy(void *s) { free(s); return OK; }
int cuStreamSynchronize(void *s) { return sync_now(); }
int cuStreamIsCapturing(void *s, int *c) { *c = s == capturing; return OK; }
int cuStreamBeginCapture_v2(void *s, int mode) {
    if (capturing) return INVALID;
    capturing = s;
    noted = calloc(1, sizeof *noted);
    return OK;
}
int cuStreamBeginCapture(void *s, int mode) { return cuStreamBeginCapture_v2(s, mode); }
int cuStreamEndCapture(void *s, void **g) {
    if (s != capturing) return INVALID;
    *g = noted;
    capturing = 0;
    return OK;
}
int cuGraphInstantiateWithFlags(void **e, Graph *g, uint64_t flags) {
    *e = malloc(sizeof *g);
    memcpy(*e, g, sizeof *g);
    return OK;
}
int cuGraphInstantiate(void **e, Graph *g, uint64_t flags) { return cuGraphInstantiateWithFlags(e, g, flags); }
int cuGraphDestroy(void *g) { free(g); return OK; }
int cuGraphExecDestroy(void *e) { free(e); return OK; }
int cuGraphLaunch(Graph *e, void *s) {
    for (int i = 0; i < e->count; i++) {
        Launch *l = &launches[launched++ % LAUNCHES];
        *l = e->launches[i];
        l->config.stream = (uint64_t)s;
    }
    return OK;
}
int cuStreamGetCtx(void *s, void **c) { *c = &contexts[((Stream *)s)->device]; return OK; }
int cuStreamGetCtx_v2(void *s, void **c, void **g) { *g = 0; return cuStreamGetCtx(s, c); }
int cuStreamGetPriority(void *s, int *p) { *p = 0; return OK; }
int cuCtxGetStreamPriorityRange(int *low, int *high) { *low = 0; *high = -5; return OK; }
int cuStreamWaitEvent(void *s, void *e, unsigned f) { waits++; return OK; }
int cuEventCreate(void **e, unsigned f) { *e = calloc(1, sizeof(Event)); return OK; }
int cuEventDestroy_v2(void *e) { free(e); return OK; }
int cuEventDestroy(void *e) { free(e); return OK; }
int cuEventRecord(void *e, void *s) { clock_gettime(CLOCK_MONOTONIC, &((Event *)e)->at); return OK; }
int cuEventSynchronize(void *e) { return OK; }
int cuEventQuery(void *e) { return OK; }
int cuEventElapsedTime_v2(float *ms, Event *a, Event *b) {
    *ms = (b->at.tv_sec - a->at.tv_sec) * 1e3f + (b->at.tv_nsec - a->at.tv_nsec) * 1e-6f;
    return OK;
}
int cuEventElapsedTime(float *ms, Event *a, Event *b) { return cuEventElapsedTime_v2(ms, a, b); }

/* -- memory ------------------------------------------------------------------------------------ */
int cuMemPoolCreate(void **p, const int *props) {
    Pool *made = calloc(1, sizeof *made);
    made->device = current < 0 ? 0 : current;
    *p = made;
    return OK;
}
int cuMemPoolDestroy(void *p) { return OK; }
int cuDeviceGetMemPool(void **p, int d) { *p = &pools[d]; return OK; }
int cuDeviceGetDefaultMemPool(void **p, int d) { *p = &pools[d]; return OK; }
int cuMemPoolSetAccess(void *p, void *d, size_t n) { return OK; }
int cuMemPoolGetAttribute(Pool *p, int a, void *v) {
    switch (a) {
    case 4: *(uint64_t *)v = p->threshold; break;
    case 5: *(uint64_t *)v = p->reserved; break;
    case 6: *(uint64_t *)v = p->reserved_peak; break;
    case 7: *(uint64_t *)v = p->used; break;
    case 8: *(uint64_t *)v = p->peak; break;
    default: *(int *)v = 1;
    }
    return OK;
}
int cuMemPoolSetAttribute(Pool *p, int a, void *v) {
    if (a == 4) p->threshold = *(uint64_t *)v;
    if (a == 6) p->reserved_peak = p->reserved;
    if (a == 8) p->peak = p->used;
    return OK;
}
int cuMemPoolTrimTo(Pool *p, size_t keep) { trimmed++; p->reserved = p->used > keep ? p->used : keep; return OK; }
int cuMemAllocFromPoolAsync(uint64_t *ptr, size_t n, Pool *p, void *s) {
    if (!n || p->used + n > capacity()) return n ? OUT_OF_MEMORY : INVALID;
    char *base;
    if (posix_memalign((void **)&base, HEADER, n + HEADER)) return OUT_OF_MEMORY;
    *(Block *)base = (Block){p, n, base};
    p->used += n;
    if (p->used > p->peak) p->peak = p->used;
    if (p->used > p->reserved) p->reserved = p->used;
    if (p->reserved > p->reserved_peak) p->reserved_peak = p->reserved;
    *ptr = (uint64_t)base + HEADER;
    return OK;
}
int cuMemFreeAsync(uint64_t ptr, void *s) {
    Block *b = (Block *)(ptr - HEADER);
    b->pool->used -= b->size;
    free(b->base);
    return OK;
}
int cuMemGetInfo_v2(size_t *free_, size_t *total) { *total = capacity(); *free_ = capacity() / 2; return OK; }
int cuMemGetInfo(size_t *f, size_t *t) { return cuMemGetInfo_v2(f, t); }
static char *pinned; static size_t pinned_size;
int cuMemAllocHost_v2(void **p, size_t n) { *p = pinned = malloc(n); pinned_size = n; return OK; }
int cuMemAllocHost(void **p, size_t n) { return cuMemAllocHost_v2(p, n); }
int cuMemFreeHost(void *p) { free(p); return OK; }
int cuMemHostRegister_v2(void *p, size_t n, unsigned f) { return p && n ? OK : INVALID; }
int cuMemHostRegister(void *p, size_t n, unsigned f) { return cuMemHostRegister_v2(p, n, f); }
int cuMemHostUnregister(void *p) { return OK; }
int cuPointerGetAttribute(void *v, int a, uint64_t p) {
    if (p < (uint64_t)pinned || p >= (uint64_t)pinned + pinned_size) return INVALID;
    *(unsigned *)v = 1; /* host memory */
    return OK;
}
static int copy(uint64_t to, uint64_t from, size_t n) {
    if (current < 0) return NO_CONTEXT;
    memcpy((void *)to, (void *)from, n);
    return OK;
}
int cuMemcpyHtoDAsync_v2(uint64_t d, uint64_t h, size_t n, void *s) { return copy(d, h, n); }
int cuMemcpyDtoHAsync_v2(uint64_t h, uint64_t d, size_t n, void *s) { return copy(h, d, n); }
int cuMemcpyDtoDAsync_v2(uint64_t t, uint64_t f, size_t n, void *s) { return copy(t, f, n); }
int cuMemcpyHtoDAsync(uint64_t d, uint64_t h, size_t n, void *s) { return copy(d, h, n); }
int cuMemcpyDtoHAsync(uint64_t h, uint64_t d, size_t n, void *s) { return copy(h, d, n); }
int cuMemcpyDtoDAsync(uint64_t t, uint64_t f, size_t n, void *s) { return copy(t, f, n); }
int cuMemsetD8Async(uint64_t d, unsigned char b, size_t n, void *s) {
    if (current < 0) return NO_CONTEXT;
    memset((void *)d, b, n);
    return OK;
}

/* -- profilers --------------------------------------------------------------------------------- */
int cuProfilerStart(void) { collecting++; return OK; }
int cuProfilerStop(void) { collecting--; return OK; }

/* -- kernels ----------------------------------------------------------------------------------- */
int cuLibraryLoadData(void **l, const void *code, void *a, void *b, unsigned c, void *d, void *e, unsigned f) {
    if (memcmp(code, "\177ELF", 4)) return 200;
    *l = malloc(8);
    return OK;
}
int cuLibraryUnload(void *l) { return OK; }
int cuLibraryGetKernel(void **k, void *l, const char *name) { *k = strdup(name); return OK; }
int cuKernelGetLibrary(void **l, void *k) { *l = k; return OK; }
int cuKernelGetFunction(void **f, void *k) { *f = k; return OK; }
int cuKernelGetAttribute(int *v, int a, void *k, int d) { *v = a == 0 ? 1024 : a == 4 ? 32 : 0; return OK; }
int cuKernelSetAttribute(int a, int v, void *k, int d) { if (a == 8) dynamic_shared = v; return OK; }
int cuLaunchKernelEx(const Config *c, const char *name, void **parameters, void **extra) {
    if (!c->grid[0] || !c->grid[1] || !c->grid[2]) return INVALID;
    int captured = capturing && c->stream == (uint64_t)capturing;
    Launch *l = captured ? &noted->launches[noted->count++ % 256] : &launches[launched++ % LAUNCHES];
    if (getenv("FAKE_CUDA_SILENT")) return OK;
    *l = (Launch){.config = *c};  // nothing of the launch that was here
    snprintf(l->name, sizeof l->name, "%s", name);
    for (int i = 0; i < parameter_count && i < PARAMETERS; i++)
        memcpy(&l->parameters[i], parameters[i], 8);
    return OK;
}

static int unsupported(void) { return UNSUPPORTED; }
int cuGetProcAddress_v2(const char *name, void **p, int version, uint64_t flags, int *status) {
    char newer[128];
    snprintf(newer, sizeof newer, "%s_v2", name);
    *p = dlsym(RTLD_DEFAULT, newer);
    Dl_info of, self;
    if (dladdr((void *)cuGetProcAddress_v2, &self), *p && dladdr(*p, &of) && of.dli_fbase == self.dli_fbase)
        ;
    else {
        void *own = dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD);
        *p = dlsym(own, newer);
        if (!*p) *p = dlsym(own, name);
    }
    if (!*p) *p = (void *)unsupported;
    if (status) *status = 0;
    return OK;
}
