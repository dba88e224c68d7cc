/* SPDX-License-Identifier: MIT
 * main.c - the command line. */
#define _POSIX_C_SOURCE 200809L
#include "commands.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "usage: bytelm score [OPTIONS] FILE        bits per byte of a file's text, and the time of each part\n"
    "       bytelm generate [OPTIONS] PROMPT   go on with a text\n\n"
    "  --model FILE         model.safetensors (default: in this folder)\n"
    "  --device SELECTOR    an index, gpu, cpu, or a part of a name (default: the best there is)\n"
    "  --attention WORDS    dense (default), window:W[,SINK], hip:WORDS, rule:CONDITION\n"
    "  --type f32|f16       how queries, keys and values are stored (default: f32)\n"
    "  --chunk N            tokens of a pass (default: all at once)\n"
    "score:\n"
    "  --length N           the first N bytes of the file\n"
    "  --prefix N           all tokens see the first N; the bytes behind them count\n"
    "  --last               only the last half counts\n"
    "generate:\n"
    "  --tokens N           how many (default: 200)\n"
    "  --refresh N          tokens that a list of hip:... serves (default: 1)\n"
    "  --temperature T      draw, sharper below 1 (default: 0, the likeliest byte)\n"
    "  --seed N             of the draws (default: 1)\n";

static const struct option long_options[] = {
    {"model", required_argument, NULL, 'm'},
    {"device", required_argument, NULL, 'd'},
    {"attention", required_argument, NULL, 'a'},
    {"type", required_argument, NULL, 't'},
    {"chunk", required_argument, NULL, 'c'},
    {"length", required_argument, NULL, 'l'},
    {"prefix", required_argument, NULL, 'p'},
    {"last", no_argument, NULL, 'L'},
    {"tokens", required_argument, NULL, 'n'},
    {"refresh", required_argument, NULL, 'r'},
    {"temperature", required_argument, NULL, 'T'},
    {"seed", required_argument, NULL, 's'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

#define MOST_TOKENS (1 << 24)

double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- options ---- */
static int64_t read_number(const char *text, int64_t least)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (errno || end == text || *end || n < least || n > MOST_TOKENS)
        stop("'%s' is not a whole number from %ld to %d", text, (long)least, MOST_TOKENS);
    return n;
}

static double read_temperature(const char *text)
{
    char *end;
    double t = strtod(text, &end);
    if (end == text || *end || !(t >= 0 && t <= 100))
        stop("'%s' is not a temperature from 0 to 100", text);
    return t;
}

static clattn_type read_type(const char *text)
{
    if (strcmp(text, "f32") != 0 && strcmp(text, "f16") != 0)
        stop("'%s' is not a type: f32 or f16", text);
    return text[1] == '3' ? CLATTN_F32 : CLATTN_F16;
}

static void read_option(struct options *o, int option)
{
    switch (option) {
    case 'm': o->model = optarg; break;
    case 'd': o->device = optarg; break;
    case 'a': o->attention = optarg; break;
    case 't': o->type = read_type(optarg); break;
    case 'c': o->chunk = read_number(optarg, 1); break;
    case 'l': o->length = read_number(optarg, 1); break;
    case 'p': o->prefix = read_number(optarg, 0); break;
    case 'L': o->last = true; break;
    case 'n': o->tokens = read_number(optarg, 0); break;
    case 'r': o->refresh = read_number(optarg, 1); break;
    case 'T': o->temperature = read_temperature(optarg); break;
    case 's': o->seed = (uint64_t)read_number(optarg, 0); break;
    case 'h': fputs(usage, stdout); exit(0);
    default: fputs(usage, stderr); exit(2); /* getopt has said what is wrong */
    }
}

/* ---- commands ---- */
/* At most `most' bytes of a file; the caller frees them. */
static unsigned char *read_text(const char *path, size_t most, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    unsigned char *text = malloc(most);
    if (!text)
        stop("out of memory");
    *bytes = f ? fread(text, 1, most, f) : 0;
    if (!f || ferror(f))
        stop("%s: %s", path, strerror(errno));
    fclose(f);
    return text;
}

static void score_file(const struct options *o, const char *path)
{
    size_t bytes;
    unsigned char *text = read_text(path, o->length ? (size_t)o->length : MOST_TOKENS, &bytes);
    if (bytes == 0 || (int64_t)bytes < o->length)
        stop("%s: it has %zu bytes", path, bytes);
    if (o->prefix >= (int64_t)bytes)
        stop("nothing is left behind a prefix of %ld bytes", (long)o->prefix);
    score(o, text, bytes);
    free(text);
}

int main(int argc, char **argv)
{
    struct options o = {
        .model = "model.safetensors", .attention = "dense", .tokens = 200, .refresh = 1, .seed = 1};
    int option;
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1)
        read_option(&o, option);
    if (argc - optind == 2 && !strcmp(argv[optind], "score"))
        score_file(&o, argv[optind + 1]);
    else if (argc - optind == 2 && !strcmp(argv[optind], "generate"))
        generate(&o, (const unsigned char *)argv[optind + 1], strlen(argv[optind + 1]));
    else
        return fputs(usage, stderr), 2;
    if (fclose(stdout))
        stop("standard output cannot be written");
    return 0;
}
