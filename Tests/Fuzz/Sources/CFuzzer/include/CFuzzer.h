// libFuzzer as a library (compiler-rt, fuzzer_no_main): the program keeps its own main.
#ifndef TWINPORT_CFUZZER_H
#define TWINPORT_CFUZZER_H

#include <stddef.h>
#include <stdint.h>

/// Runs libFuzzer with a command line of its own; calls `target` with every input.
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*target)(const uint8_t *data, size_t size));

#endif
