/* C interface of the emulation, for tests. Settings and results belong to the calling thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { EMUL_ORDER_ASCENDING = 0, EMUL_ORDER_DESCENDING = 1, EMUL_ORDER_RANDOM = 2 };

typedef struct {
    uint64_t blocks, switches, collectives, barriers, mmas;
    uint64_t ldmatrix_tiles, ldmatrix_passes; /* equal when no bank conflicts */
    uint64_t shared_bytes;                    /* largest block */
} EmulStatistics;

void emul_configure(int order, uint64_t seed, int host_threads);
/* As cuLaunchKernel, by name. args[0] points to the kernel's struct of arguments, which has
 * `argument_bytes`: a list that does not fit the kernel's is an error, not a read of garbage. */
int emul_launch(const char* name, const unsigned grid[3], const unsigned block[3], size_t dynamic_bytes, void** arguments,
                size_t argument_bytes);
const char* emul_last_error(void); /* "" after a good launch */
void emul_last_statistics(EmulStatistics* out);
/* Memory that ends at an unmapped page and starts out as NaN patterns. */
void* emul_allocate(size_t bytes, const char* name);
void emul_free(void* memory);

#ifdef __cplusplus
}
#endif
