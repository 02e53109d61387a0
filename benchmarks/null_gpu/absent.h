/* What torch is linked with and our work has no use for says so when it is called. No header of CUDA's here, whose
   declarations these would not be; build.sh writes one line for each name that nothing else defines. */
#pragma once

void null_misuse(const char *format, ...);

#define ABSENT(name) \
    __attribute__((visibility("default"))) int name(void) { \
        null_misuse("%s is not made", #name); \
        return 801; /* not supported; every library here takes it for an error */ \
    }
