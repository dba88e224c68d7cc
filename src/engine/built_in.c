/* SPDX-License-Identifier: MIT
 * built_in.c - the lines of tuning that the library brings: where measuring found better than what an engine
 * chooses by itself.  So far it did not, by one part in a hundred: doc/tuning.md says where, and which
 * numbers stand where. */
#include "engine/engine.h"

const char clattn__tuning_built_in[] = "clattn-tuning 1\n";
