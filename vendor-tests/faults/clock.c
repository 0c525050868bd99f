/* A wall clock that is wrong, put between a program and its C library by LD_PRELOAD.
 *
 * The file named by WALL_CLOCK holds a number: by how many seconds the wall clock is ahead from now
 * on; negative: behind. Monotonic clocks and the times of files stay right.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    const char *name = getenv("WALL_CLOCK");
    if (result != 0 || clock != CLOCK_REALTIME || name == NULL)
        return result;
    FILE *file = fopen(name, "r");
    long long ahead = 0;
    if (file != NULL) {
        if (fscanf(file, "%lld", &ahead) != 1)
            ahead = 0;
        fclose(file);
    }
    time->tv_sec += ahead;
    return result;
}
