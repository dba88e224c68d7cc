/* SPDX-License-Identifier: MIT
 * built_in.c - the lines of tuning that the library brings: where measuring found better than what an engine chooses by itself
 * (doc/tuning.md says which numbers stand where, on which machine they were measured, and when). */
#include "engine/engine.h"

const char clattn__tuning_built_in[] = "clattn-tuning 1\n";
