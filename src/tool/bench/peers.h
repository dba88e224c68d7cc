/* SPDX-License-Identifier: MIT
 * peers.h - other libraries on the same problem, by bench/peers/peers.py, which finds what is installed. */
#ifndef PEERS_H
#define PEERS_H

#include "tool/report/report.h"

struct peers;
/* Starts the program that answers; what: which peers are there and which are left out, or why there are none
 * (then NULL). */
struct peers *peers_open(char *what, size_t size);
/* The fastest peer on a plain problem goes into the line; blank where none can do it. */
void peers_measure(struct peers *peers, struct result *line);
void peers_close(struct peers *peers);

#endif
