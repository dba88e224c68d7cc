/* SPDX-License-Identifier: MIT
 * fault.h - what the fault layer (faultlayer.c) offers a program that found it with dlopen: arm, disarm,
 * count. */
#ifndef FAULT_H
#define FAULT_H

struct fault_report {
    long calls;        /* OpenCL calls seen since fault_arm */
    long injected;     /* how many of them were made to fail */
    const char *first; /* name of the first that failed, NULL if none */
    long live;         /* OpenCL objects alive now: creates + retains - releases */
};

struct fault_control {
    /* The nth call from now on fails with code; with forever not 0, so do all after it.  n = 0 only counts.
     */
    void (*arm)(long n, int code, int forever);
    void (*disarm)(struct fault_report *report);
};
#define FAULT_CONTROL_SYMBOL "fault_control"

#endif
