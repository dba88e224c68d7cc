/* SPDX-License-Identifier: MIT
 * main.c - the program clattn: finds the command. */
#include "tool/tool.h"

#include <string.h>

static const struct {
    const char *name, *what;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"devices", "list the devices, which engines fit them, and known traps of their drivers",
     command_devices},
    {"run", "run one problem, on files or random input; compare with an expected output", command_run},
    {"verify", "compare random problems with the double-precision reference", command_verify},
    {"bench", "measure problems on all devices", command_bench},
    {"tune", "find what serves problems best on a device, and keep it", command_tune},
    {"explain", "say what becomes of a problem's rules, and which tiles a mask leaves", command_explain},
    {"select", "choose the key blocks worth reading, and say what that costs", command_select},
    {"rules", "list the rules that have names", command_rules},
    {"mechanisms", "list attention as papers name it", command_mechanisms},
};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void usage(FILE *to)
{
    fprintf(to, "usage: clattn COMMAND [OPTIONS]\n\nAttention on any OpenCL device.\n\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].what);
    fprintf(to, "\n`clattn COMMAND --help' lists a command's options; `clattn --version' the version.\n");
}

static int run_command(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return EXIT_MISTAKE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        usage(stdout);
        return EXIT_GOOD;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("clattn %s\n", clattn_version());
        return EXIT_GOOD;
    }
    if (!strcmp(argv[1], "build-helper")) /* for a library that asks for one, not for people */
        return clattn_build_helper(0);
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    return mistake("'%s' is not a command; `clattn --help' lists them", argv[1]);
}

int main(int argc, char **argv)
{
    int code = run_command(argc, argv), lost = close_written(stdout, "standard output");
    return lost ? lost : code;
}
