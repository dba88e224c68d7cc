/* SPDX-License-Identifier: MIT
 * presets.c - what clattn bench measures when no problem is named, and the real tensors of some of it. */
#include "tool/bench/bench.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *preset;
    struct bench_line line;
} presets[] = {
    {"attention", {"attn:f16-f32:h6/2:q512:k512:d64:causal-tl:lse", "causal", "a language model reading"}},
    {"attention",
     {"attn:f16-f32:h6/2:q896:k896:d64:prefix768-tl:lse", "mixed", "a prefix seen whole, then causal"}},
    {"attention", {"attn:f16-f32:h3/1:q1000:k1000:d64:lse", "bidirectional", "an encoder"}},
    {"attention", {"attn:f16-f32:h6/2:q548:k1500:d64:lse", "cross", "queries of one text, keys of another"}},
    {"attention", {"attn:f32:h8:q2048:k2048:d64", NULL, "random numbers"}},
    {"attention", {"attn:f32:h32/8:q1:k8192:d128", NULL, "one token of generation, random numbers"}},
    {"quick", {"attn:f32:h8:q512:k512:d64:causal-tl", NULL, ""}},
    {"quick", {"attn:f32:h8:q1024:k1024:d64:causal-tl", NULL, ""}},
    {"quick", {"attn:f32:h8:q2048:k2048:d64", NULL, ""}},
    {"quick", {"attn:f32:h8:q2048:k2048:d64:causal-tl", NULL, ""}},
    {"quick", {"attn:f32:h8:q2048:k2048:d128", NULL, ""}},
    {"quick", {"attn:f32:h8:q2048:k2048:d128:causal-tl", NULL, ""}},
    {"quick", {"attn:f16:h8:q2048:k2048:d64", NULL, ""}},
    {"quick", {"attn:bf16:h8:q2048:k2048:d64", NULL, ""}},
    {"quick", {"attn:f32:h32/8:q1:k8192:d128", NULL, ""}},
    {"standard", {"attn:f32:h32:q512:k512:d64", NULL, ""}},
    {"standard", {"attn:f32:b8:h12:q128:k128:d64", NULL, ""}},
    {"standard", {"attn:f32:h8:q8192:k8192:d64:causal-tl", NULL, ""}},
    {"standard", {"attn:f32:h8:q2048:k2048:d80", NULL, ""}},
    {"standard", {"attn:f32:h8:q2048:k2048:d256", NULL, ""}},
    {"standard", {"attn:f32:h8:q2048:k2048:d64:window512-causal-tl", NULL, ""}},
    {"standard", {"attn:f32:h1:q64:k64:d64", NULL, ""}},
    {"standard", {"attn:f16:h32/8:q1:k8192:d128", NULL, ""}},
    {"standard", {"attn:f32:h32/8:q4:k8192:d128:causal-br", NULL, ""}},
    {"chat", {"attn:f16:h32/8:q512:k512:d128:causal-br", NULL, "Llama 3 8B reads 512 tokens"}},
    {"chat", {"attn:f16:h32/8:q2048:k2048:d128:causal-br", NULL, "Llama 3 8B reads 2048 tokens"}},
    {"chat", {"attn:f16:h32/8:q256:k4096:d128:causal-br", NULL, "Llama 3 8B reads 256 more after 3840"}},
    {"chat", {"attn:f16:h32/8:q1:k2048:d128", NULL, "Llama 3 8B writes a token after 2048"}},
    {"chat", {"attn:f16:h32/8:q1:k8192:d128", NULL, "Llama 3 8B writes a token after 8192"}},
    {"chat", {"attn:f16:h32/8:q1:k32768:d128", NULL, "Llama 3 8B writes a token after 32768"}},
    {"chat", {"attn:f16:b8:h32/8:q1:k2048:d128", NULL, "Llama 3 8B writes a token in each of 8 chats"}},
    {"chat", {"attn:f16:h32/8:q4:k8192:d128:causal-br", NULL, "Llama 3 8B judges 4 guessed tokens"}},
    {"chat", {"attn:bf16:h14/2:q1024:k1024:d64:causal-br", NULL, "Qwen2.5 0.5B reads 1024 tokens"}},
    {"chat", {"attn:bf16:h14/2:q1:k8192:d64", NULL, "Qwen2.5 0.5B writes a token after 8192"}},
    {"encoder", {"attn:f32:b16:h12:q128:k128:d64", NULL, "BERT base, 16 sentences"}},
    {"encoder", {"attn:f32:b4:h12:q512:k512:d64", NULL, "BERT base, 4 pages"}},
    {"encoder", {"attn:f32:b32:h12:q128:k128:d32", NULL, "MiniLM, 32 sentences"}},
    {"encoder", {"attn:f16:h8:q1500:k1500:d64", NULL, "Whisper base hears 30 s"}},
    {"encoder", {"attn:f16:h8:q1:k1500:d64", NULL, "Whisper base writes a token of 30 s"}},
    {"vision", {"attn:f16:b8:h12:q197:k197:d64", NULL, "ViT-B/16, 8 pictures of 224 x 224"}},
    {"vision", {"attn:f16:h16:q577:k577:d64", NULL, "ViT-L/14, a picture of 336 x 336"}},
    {"vision", {"attn:f16:b2:h8:q1024:k1024:d80", NULL, "Stable Diffusion 1.5, layers of 32 x 32"}},
    {"vision", {"attn:f16:b2:h8:q4096:k4096:d40", NULL, "Stable Diffusion 1.5, layers of 64 x 64"}},
    {"vision", {"attn:f16:b2:h8:q4096:k77:d40", NULL, "Stable Diffusion 1.5, 64 x 64 and the words"}},
    {"long", {"attn:f32:h6/2:q8192:k8192:d64:causal-br", NULL, "8192 tokens, dense"}},
    {"long",
     {"attn:f32:h6/2:q8192:k8192:d64:window512-causal-br", NULL, "8192 tokens, each sees the last 512"}},
    {"long", {"attn:f32:h6/2:q8192:k8192:d64:causal-br:pairs-256", NULL, "8192 tokens, pruned to 256"}},
    {"long", {"attn:f32:h6/2:q16384:k16384:d64:causal-br:pairs-256", NULL, "16384 tokens, pruned to 256"}},
    {"long", {"attn:f32:h6/2:q1:k65536:d64:causal-br:pairs-256", NULL, "a token after 65536, pruned"}},
    {"long",
     {"attn:f32:h6/2:q1:k65536:d64:causal-br:infinitehip-3k:bq=1", NULL, "a token after 65536, InfiniteHiP"}},
    {"training", {"attn:bf16:b4:h16:q1024:k1024:d64:causal-tl:lse", NULL, "GPT-2 medium, a batch of 4"}},
    {"training", {"attn:bf16:b2:h16:q2048:k2048:d128:causal-tl:lse", NULL, "heads of 128, a batch of 2"}},
    {"training", {"attn:bf16:h32:q4096:k4096:d128:causal-tl:lse", NULL, "Llama 2 7B, a whole context"}},
    {"cpu", {"attn:f32:h8:q2048:k2048:d64", NULL, ""}},
    {"cpu", {"attn:f32:h8:q2048:k2048:d64:causal-tl", NULL, ""}},
    {"cpu", {"attn:f32:h8:q2048:k2048:d128", NULL, ""}},
    {"cpu", {"attn:f32:h8:q2048:k2048:d128:causal-tl", NULL, ""}},
    {"cpu", {"attn:f32:h8:q8192:k8192:d64:causal-tl", NULL, ""}},
    {"cpu", {"attn:f32:h32:q512:k512:d64", NULL, ""}},
    {"cpu", {"attn:f32:b8:h12:q128:k128:d64", NULL, ""}},
    {"cpu", {"attn:bf16:h8:q2048:k2048:d64", NULL, ""}},
    {"cpu", {"attn:bf16:h8:q2048:k2048:d64:causal-tl", NULL, ""}},
    {"cpu", {"attn:bf16:h8:q2048:k2048:d128", NULL, ""}},
    {"cpu", {"attn:bf16:h8:q2048:k2048:d128:causal-tl", NULL, ""}},
    {"cpu", {"attn:bf16:h8:q8192:k8192:d64:causal-tl", NULL, ""}},
    {"cpu", {"attn:bf16:h32:q512:k512:d64", NULL, ""}},
    {"cpu", {"attn:bf16:b8:h12:q128:k128:d64", NULL, ""}},
    {"cpu", {"attn:f16:h8:q2048:k2048:d64", NULL, ""}},
    {"cpu", {"attn:f16:h8:q2048:k2048:d64:causal-tl", NULL, ""}},
    {"cpu", {"attn:f16:h8:q2048:k2048:d128", NULL, ""}},
    {"cpu", {"attn:f16:h8:q2048:k2048:d128:causal-tl", NULL, ""}},
    {"cpu", {"attn:f16:h8:q8192:k8192:d64:causal-tl", NULL, ""}},
    {"cpu", {"attn:f16:h32:q512:k512:d64", NULL, ""}},
    {"cpu", {"attn:f16:b8:h12:q128:k128:d64", NULL, ""}},
    {"cpu", {"attn:bf16-f32:h8:q2048:k2048:d64", NULL, "no products of pairs"}},
    {"cpu", {"attn:bf16-f32:h8:q2048:k2048:d128", NULL, "no products of pairs"}},
    {"cpu", {"attn:f32:h4:q2048:k2048:d8", NULL, ""}},
    {"cpu", {"attn:f32:h4:q2048:k2048:d16", NULL, ""}},
    {"cpu", {"attn:f32:h4:q2048:k2048:d40", NULL, ""}},
    {"cpu", {"attn:f32:h4:q2048:k2048:d80", NULL, ""}},
    {"cpu", {"attn:f32:h4:q2048:k2048:d96", NULL, ""}},
    {"cpu", {"attn:f32:h4:q2048:k2048:d256", NULL, ""}},
    {"cpu", {"attn:f32:h4:q2048:k2048:d512", NULL, ""}},
    {"cpu", {"attn:f32:h4:q2048:k2048:d576", NULL, ""}},
    {"cpu", {"attn:f32:h32/8:q1:k32768:d128", NULL, "decode"}},
    {"cpu", {"attn:f16:h32/8:q1:k65536:d128", NULL, "decode"}},
    {"cpu", {"attn:bf16:h32/8:q1:k65536:d128", NULL, "decode"}},
    {"cpu", {"attn:f32:h6/2:q1:k8192:d64", NULL, "decode, in the third cache"}},
    {"cpu", {"attn:f32:h1:q1:k131072:d128", NULL, "decode, one head"}},
    {"cpu", {"attn:f32:h32/8:q2:k32768:d128:causal-br", NULL, "few queries"}},
    {"cpu", {"attn:f32:h32/8:q4:k32768:d128:causal-br", NULL, "few queries"}},
    {"cpu", {"attn:f32:h32/8:q16:k32768:d128:causal-br", NULL, "few queries"}},
    {"cpu", {"attn:f32:h32:q4:k8192:d128:causal-br", NULL, "few queries, memory binds"}},
    {"cpu", {"attn:f32:h1:q64:k64:d64", NULL, "short"}},
    {"cpu", {"attn:f32:h4:q128:k128:d64", NULL, "short"}},
};
#define N_PRESETS (sizeof presets / sizeof presets[0])

/* The sets by name. */
static const struct {
    const char *name, *what;
} sets[] = {
    {"quick", "a first look; the default"},
    {"standard", "quick, and more sizes, head sizes and masks"},
    {"full", "standard, chat, encoder, vision, long and training"},
    {"chat", "a language model reads and writes"},
    {"encoder", "sentences, pages, speech"},
    {"vision", "pictures"},
    {"long", "a long document: dense, by a window, pruned"},
    {"training", "the forward pass of training"},
    {"attention", "real tensors of a language model, and random ones"},
    {"cpu", "what decides the speed of CPUs"},
};

/* Sets that larger ones hold. */
static const struct {
    const char *whole, *part;
} unions[] = {{"standard", "quick"}, {"full", "quick"},  {"full", "standard"}, {"full", "chat"},
              {"full", "encoder"},   {"full", "vision"}, {"full", "long"},     {"full", "training"}};

static bool belongs(size_t i, const char *preset)
{
    if (!strcmp(presets[i].preset, preset))
        return true;
    for (size_t u = 0; u < sizeof unions / sizeof unions[0]; u++)
        if (!strcmp(unions[u].whole, preset) && !strcmp(unions[u].part, presets[i].preset))
            return true;
    return false;
}

/* A problem that two sets share is measured once. */
static bool listed(const struct bench_line *lines, size_t count, const struct bench_line *line)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(lines[i].problem, line->problem) && lines[i].data == line->data)
            return true;
    return false;
}

size_t preset_lines(const char *preset, struct bench_line *lines, size_t capacity)
{
    size_t count = 0;
    for (size_t i = 0; i < N_PRESETS && count < capacity; i++)
        if (belongs(i, preset) && !listed(lines, count, &presets[i].line))
            lines[count++] = presets[i].line;
    return count;
}

/* ---- how long a preset takes ---- */
/* Two cores of a CPU, as measured on PoCL with AVX-512 on a Xeon at 2 GHz, rounded down: 8 heads of 2048 by
 * 2048, head size 64, take 77 ms, 112e9 operations a second, and the unfused pipeline some 20 times that. */
#define RATE          100e9 /* operations a second of the engine */
#define READ_RATE     7e9   /* bytes a second that it reads */
#define PIPELINE_RATE 5e9   /* operations a second of the unfused pipeline */

/* A pruned problem's operations: each row sees the keys of its list, the sinks and the window at most. */
static double pruned_operations(const clattn_attention *a, const clattn_select *select)
{
    const double keys = (double)(select->budget + select->sink + select->window);
    return 2 * (double)a->batch * (double)a->heads * (double)a->q_len * keys * (double)(a->dim + a->dim_v);
}

/* As measure_line() goes; of a selection that it takes as long as it is timed for. */
static double expect_line(const struct bench_line *line)
{
    const struct problem_options none = {.mechanism = NULL};
    clattn_attention problem;
    clattn_select select;
    if (read_selector(&problem, &select, line->problem, &none))
        return 0;
    const double operations = clattn_problem_flops(&problem, NULL);
    const double run = fmax(operations / RATE, clattn_problem_bytes(&problem) / READ_RATE);
    const double dense = expect_measure(run, DEFAULT_SECONDS);
    if (!select.size)
        return dense + expect_baseline(&problem, PIPELINE_RATE);
    return dense + DEFAULT_SECONDS +
           expect_measure(fmin(operations, pruned_operations(&problem, &select)) / RATE, DEFAULT_SECONDS);
}

static double expect_preset(const char *preset)
{
    struct bench_line lines[BENCH_LINES];
    const size_t n = preset_lines(preset, lines, BENCH_LINES);
    double seconds = 0;
    for (size_t i = 0; i < n; i++)
        seconds += expect_line(&lines[i]);
    return seconds;
}

static void print_time(double seconds)
{
    if (seconds < 90)
        printf("%.0f s\n", 5 * ceil(seconds / 5));
    else
        printf("%.0f minutes\n", ceil(seconds / 60));
}

void list_presets(void)
{
    int width = 0;
    for (size_t i = 0; i < N_PRESETS; i++)
        if ((int)strlen(presets[i].line.problem) > width)
            width = (int)strlen(presets[i].line.problem);
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        printf("%-9s  %-50s  ", sets[i].name, sets[i].what);
        print_time(expect_preset(sets[i].name));
    }
    printf("\nTimes are for each device, computed for two CPU cores of %.0f GFLOP/s that do nothing else.\n"
           "The first time a device compiles besides: PoCL some 2 s for each problem, and half a minute for\n"
           "the unfused pipeline.\n\n",
           RATE * 1e-9);
    for (size_t i = 0; i < N_PRESETS; i++) {
        const char *note = presets[i].line.note;
        printf("%-9s  %-*s%s%s\n", presets[i].preset, note[0] ? width : 0, presets[i].line.problem,
               note[0] ? "  " : "", note);
    }
}

/* ---- real tensors ---- */
/* A file of a line's folder; NULL if it is nowhere. */
static const char *data_path(const struct bench_line *line, const char *folder, const char *file, char *path,
                             size_t size)
{
    const char *places[] = {folder, "tests/data", "../tests/data", PRESET_DIR "/data"};
    size_t n =
        folder ? 1 : sizeof places / sizeof places[0]; /* a folder that is named is the one that is meant */
    for (size_t i = folder ? 0 : 1; i < n; i++) {
        snprintf(path, size, "%s/%s/%s.npy", places[i], line->data, file);
        if (access(path, R_OK) == 0)
            return path;
    }
    return NULL;
}

int load_line(const struct bench_line *line, const char *folder, struct workload *w)
{
    static const char *const files[] = {"q", "k", "v"};
    char path[1024];
    for (int i = 0; line->data && i < 3; i++) {
        if (!data_path(line, folder, files[i], path, sizeof path))
            return mistake(
                "%s/%s.npy is not in %s; call from the source folder or name the folder with --data",
                line->data, files[i], folder ? folder : "tests/data");
        if (load_tensor(path, w, files[i][0]))
            return EXIT_MISTAKE;
    }
    return 0;
}

bool line_agrees(const struct bench_line *line, const char *folder, const struct workload *w, char *why,
                 size_t size)
{
    static const char *const files[] = {"o", "lse"};
    char path[1024];
    struct comparison c;
    for (int i = 0; line->data && i < 2; i++) {
        const char *at = data_path(line, folder, files[i], path, sizeof path);
        if (!at) {
            snprintf(why, size, "%s/%s.npy is not there to compare with", line->data, files[i]);
            return false;
        }
        if (compare_tensor(at, w, files[i][0], &c)) {
            snprintf(why, size, "%s cannot be compared with", at);
            return false;
        }
        if (!c.pass) {
            snprintf(why, size, "%s of %s differs by %.3g, %.2f times what is allowed", files[i], at, c.error,
                     c.part);
            return false;
        }
    }
    return true;
}
