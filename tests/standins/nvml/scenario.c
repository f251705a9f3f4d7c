/* Parser and lookup of the scenario; see scenario.h for the language. Callers hold the lock. */
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MAX_RULES 2048
#define MAX_ITEMS 256
#define NAME 64

enum verb { SET, EVERY, RAMP, TEXT, FAIL, DELAY };
struct rule {
    enum verb verb;
    int gpu, mig;                           /* -1: any GPU */
    char key[NAME];
    long double *values;
    size_t count, calls;
    long double step;                       /* ms of EVERY */
    char *text;
};
struct event { int gpu; unsigned long long type, data; };

static struct rule rules[MAX_RULES];
static struct process processes[MAX_ITEMS];
static struct sample samples[MAX_ITEMS];
static struct event events[MAX_ITEMS];
static size_t rule_count, process_count, sample_count, event_count, next_event;
static int gpu_count, mig_count[MAX_GPUS], epoch;
static struct stat seen;
static double started_s;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void clear(void)
{
    for (size_t i = 0; i < rule_count; i++) {
        free(rules[i].values);
        free(rules[i].text);
    }
    memset(rules, 0, sizeof rules);
    memset(mig_count, 0, sizeof mig_count);
    rule_count = process_count = sample_count = event_count = next_event = 0;
    gpu_count = epoch = 0;
}

static void bad(const char *line)
{
    fprintf(stderr, "NVML stand-in: cannot understand %s\n", line);
    abort();
}

static struct target scope_of(const char *word)
{
    struct target on = { -1, NOT_MIG };
    if (strcmp(word, "*") != 0)
        on.gpu = atoi(word);
    const char *slash = strchr(word, '/');
    if (slash)
        on.mig = atoi(slash + 1);
    return on;
}

static void add_rule(enum verb verb, char *rest, const char *line)
{
    if (rule_count == MAX_RULES)
        bad("more rules than MAX_RULES");
    struct rule *rule = &rules[rule_count++];
    char *save = NULL, *scope = strtok_r(rest, " ", &save), *key = strtok_r(NULL, " ", &save);
    if (!scope || !key || strlen(key) >= NAME)
        bad(line);
    struct target on = scope_of(scope);
    rule->verb = verb;
    rule->gpu = on.gpu;
    rule->mig = on.mig;
    strcpy(rule->key, key);
    if (verb == TEXT) {
        rule->text = strdup(save ? save : "");
        return;
    }
    if (verb == EVERY)
        rule->step = strtold(strtok_r(NULL, " ", &save), NULL);
    for (char *word; (word = strtok_r(NULL, " ", &save));) {
        rule->values = realloc(rule->values, (rule->count + 1) * sizeof *rule->values);
        rule->values[rule->count++] = strtold(word, NULL);
    }
    if (rule->count == 0)
        bad(line);
}

static void add_process(char *rest, const char *line)
{
    char scope[NAME], kind[NAME];
    struct process p;
    if (sscanf(rest, "%63s %63s %u %llu", scope, kind, &p.pid, &p.bytes) != 4 ||
        process_count == MAX_ITEMS)
        bad(line);
    p.on = scope_of(scope);
    p.kind = kind[0] == 'C' ? "Compute" : kind[0] == 'G' ? "Graphics" : "MPSCompute";
    processes[process_count++] = p;
}

static void add_sample(const char *rest, const char *line)
{
    char scope[NAME];
    struct sample s;
    if (sscanf(rest, "%63s %u %u %u %u %u", scope, &s.pid, &s.sm, &s.mem, &s.enc, &s.dec) != 6 ||
        sample_count == MAX_ITEMS)
        bad(line);
    s.on = scope_of(scope);
    samples[sample_count++] = s;
}

static void parse(char *line)
{
    static const char *verbs[] = { "set", "every", "ramp", "text", "fail", "delay" };
    char *rest = strchr(line, ' ');
    size_t length = rest ? (size_t)(rest - line) : strlen(line);
    char word[NAME] = "", copy[160];
    memcpy(word, line, length < NAME ? length : NAME - 1);
    snprintf(copy, sizeof copy, "%s", line);
    rest = rest ? rest + 1 : line + length;
    for (int verb = SET; verb <= DELAY; verb++)
        if (strcmp(word, verbs[verb]) == 0) {
            add_rule((enum verb)verb, rest, copy);
            return;
        }
    if (!strcmp(word, "device"))
        gpu_count++;
    else if (!strcmp(word, "mig"))
        mig_count[atoi(rest)]++;
    else if (!strcmp(word, "epoch"))
        epoch = atoi(rest);
    else if (!strcmp(word, "process"))
        add_process(rest, copy);
    else if (!strcmp(word, "util"))
        add_sample(rest, copy);
    else if (!strcmp(word, "event")) {
        struct event *e = &events[event_count++];
        if (sscanf(rest, "%d %llu %llu", &e->gpu, &e->type, &e->data) != 3)
            bad(copy);
    } else
        bad(copy);
}

int scenario_refresh(void)
{
    const char *path = getenv("GNOMON_NVML_SCENARIO");
    struct stat now;
    if (!path || stat(path, &now) != 0)
        return -1;
    if (now.st_ino == seen.st_ino && now.st_mtim.tv_sec == seen.st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
        return 0;
    FILE *file = fopen(path, "r");
    if (!file)
        return -1;
    clear();
    if (started_s == 0)
        started_s = now_s();
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] && line[0] != '#')
            parse(line);
    }
    free(line);
    fclose(file);
    seen = now;
    return 0;
}

int scenario_gpus(void) { return gpu_count; }
int scenario_migs(int gpu) { return mig_count[gpu]; }
int scenario_epoch(void) { return epoch; }

static int applies(const struct rule *rule, struct target on)
{
    return rule->mig == on.mig && (rule->gpu == -1 || rule->gpu == on.gpu);
}

/* The last rule for this very GPU, else the last for every GPU. */
static struct rule *find(struct target on, const char *key, int text)
{
    struct rule *best = NULL;
    for (size_t i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        if (rule->verb > TEXT || (rule->verb == TEXT) != text)
            continue;
        if (applies(rule, on) && !strcmp(rule->key, key) && (!best || rule->gpu >= best->gpu))
            best = rule;
    }
    return best;
}

int scenario_number(struct target on, const char *key, long double *value)
{
    struct rule *rule = find(on, key, 0);
    if (!rule)
        return -1;
    size_t at = rule->calls++;
    if (rule->verb == RAMP) {
        *value = rule->values[0] + (rule->count > 1 ? rule->values[1] : 0) * (now_s() - started_s);
        if (rule->count > 2)
            *value -= rule->values[2] * (long double)(unsigned long long)(*value / rule->values[2]);
        return 0;
    }
    if (rule->verb == EVERY)
        at = (size_t)((now_s() - started_s) * 1e3 / (double)rule->step);
    *value = rule->values[at < rule->count ? at : rule->count - 1];
    return 0;
}

const char *scenario_text(struct target on, const char *key)
{
    struct rule *rule = find(on, key, 1);
    return rule ? rule->text : NULL;
}

static int in_calls(struct rule *rule)
{
    long double call = (long double)++rule->calls;
    long double first = rule->count > 1 ? rule->values[1] : 0;
    long double last = rule->count > 2 ? rule->values[2] : 0;
    return call >= first && (last == 0 || call <= last);
}

static long double effect(enum verb verb, struct target on, const char *function)
{
    long double value = 0;
    for (size_t i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        int named = !strcmp(rule->key, function) || (!strcmp(rule->key, "*") && on.gpu >= 0);
        if (rule->verb == verb && applies(rule, on) && named && in_calls(rule))
            value = rule->values[0];
    }
    return value;
}

int scenario_fail(struct target on, const char *function)
{
    return (int)effect(FAIL, on, function);
}

unsigned scenario_delay_ms(struct target on, const char *function)
{
    return (unsigned)effect(DELAY, on, function);
}

static int same(struct target a, struct target b) { return a.gpu == b.gpu && a.mig == b.mig; }

size_t scenario_processes(struct target on, const char *kind, const struct process **found, size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < process_count; i++)
        if (same(processes[i].on, on) && !strcmp(processes[i].kind, kind)) {
            if (found && count < max)
                found[count] = &processes[i];
            count++;
        }
    return count;
}

size_t scenario_samples(struct target on, const struct sample **found, size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < sample_count; i++)
        if (same(samples[i].on, on)) {
            if (found && count < max)
                found[count] = &samples[i];
            count++;
        }
    return count;
}

int scenario_event(int *gpu, unsigned long long *type, unsigned long long *data)
{
    if (next_event == event_count)
        return -1;
    *gpu = events[next_event].gpu;
    *type = events[next_event].type;
    *data = events[next_event++].data;
    return 0;
}
