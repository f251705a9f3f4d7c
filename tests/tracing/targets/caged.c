/* Forbids itself, by seccomp, the system calls through which probed functions enter and return on
 * x86-64, on pain of death; then launches once for each line that it reads. */
#include "standin.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#define URETPROBE 335
#define UPROBE 336

function cudaLaunchKernel;

int main(void)
{
    char line[64];
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, URETPROBE, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, UPROBE, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        return 2;
    printf("pid %d\n", getpid());
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        cudaLaunchKernel(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        puts("ok");
        fflush(stdout);
    }
    return 0;
}
