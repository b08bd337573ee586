#include <stdio.h>

#include "io/firewall.h"
#include "io/redirect.h"

/* Firewall: nft's listing is read line by line. Its shape is fixed: a table begins at the margin, what is in it is indented
 * by one tabulator, the rules of a chain by two. Of the rules only those are kept that hold for every client of a stack
 * that sleeps: a new TCP connection from another host, redirected. Then each chain on the input hook is followed,
 * through those that it jumps to, until one accepts, one drops, or the policy decides. */

#define DEPTH_MAX 16U /* NFT_JUMP_STACK_SIZE */

typedef enum Verdict {
        VERDICT_UNKNOWN,
        VERDICT_GOES_ON, /* returns to whence it came; at the end of a base chain: its policy */
        VERDICT_ACCEPTS,
        VERDICT_DROPS,
} Verdict;

typedef enum RuleKind { RULE_ACCEPT, RULE_DROP, RULE_RETURN, RULE_JUMP, RULE_GOTO } RuleKind;

typedef struct Rule {
        RuleKind kind;
        char *target; /* of a jump or goto */
} Rule;

typedef struct Chain {
        char *name;
        bool on_input, policy_drop;
        Rule *rules;
        size_t n_rules;
        Verdict verdict;
} Chain;

typedef struct Reader {
        char **sentences;

        /* Of the table that is being read. */
        char family[16], table[128];
        bool managed; /* by iptables: so the line above it says */
        Chain *chains;
        size_t n_chains;
        bool in_chain; /* the last one */
} Reader;

static void reader_end_table(Reader *reader) {
        for (size_t i = 0; i < reader->n_chains; i++) {
                for (size_t j = 0; j < reader->chains[i].n_rules; j++)
                        free(reader->chains[i].rules[j].target);
                free(reader->chains[i].rules);
                free(reader->chains[i].name);
        }
        reader->chains = mfree(reader->chains);
        reader->n_chains = 0;
        reader->managed = reader->in_chain = false;
}

static Chain *reader_chain(const Reader *reader, const char *name) {
        for (size_t i = 0; i < reader->n_chains; i++)
                if (streq(reader->chains[i].name, name))
                        return &reader->chains[i];
        return NULL;
}

/* What a chain does. The kernel refuses chains that lead back to themselves, or too far. */
static Verdict chain_follow(const Reader *reader, Chain *chain, unsigned depth) {
        if (chain->verdict != VERDICT_UNKNOWN)
                return chain->verdict;
        if (depth > DEPTH_MAX)
                return VERDICT_GOES_ON;
        chain->verdict = VERDICT_GOES_ON;

        for (size_t i = 0; i < chain->n_rules; i++) {
                const Rule *rule = &chain->rules[i];
                Chain *target = rule->target ? reader_chain(reader, rule->target) : NULL;
                Verdict verdict = target ? chain_follow(reader, target, depth + 1) : VERDICT_GOES_ON;

                if (rule->kind == RULE_ACCEPT)
                        verdict = VERDICT_ACCEPTS;
                if (rule->kind == RULE_DROP)
                        verdict = VERDICT_DROPS;
                if (verdict != VERDICT_GOES_ON || rule->kind == RULE_RETURN || rule->kind == RULE_GOTO) {
                        chain->verdict = verdict;
                        break;
                }
        }
        return chain->verdict;
}

/* Its own chains are in the way of every rule that is not where it looks for them. */
static bool chain_is_of_ufw(const Chain *chain) {
        for (size_t i = 0; i < chain->n_rules; i++)
                if (chain->rules[i].target && strncmp(chain->rules[i].target, "ufw", strlen("ufw")) == 0)
                        return true;
        return false;
}

static int reader_tell(Reader *reader, const Chain *chain) {
        _cleanup_free_ char *rule = NULL, *sentence = NULL;
        bool ipv6 = streq(reader->family, "ip6");
        int n;

        if (chain_is_of_ufw(chain))
                n = asprintf(&rule,
                             "in /etc/ufw/before%s.rules: -A ufw%s-before-input -m conntrack --ctstate DNAT "
                             "-j ACCEPT",
                             ipv6 ? "6" : "", ipv6 ? "6" : "");
        else if (reader->managed)
                n = asprintf(&rule, "%s -I %s -m conntrack --ctstate DNAT -j ACCEPT",
                             ipv6 ? "ip6tables" : "iptables", chain->name);
        else
                n = asprintf(&rule, "nft insert rule %s %s %s ct status dnat accept", reader->family,
                             reader->table, chain->name);
        if (n < 0) {
                rule = NULL;
                return -ENOMEM;
        }

        if (asprintf(&sentence,
                     "The firewall's chain %s (table %s %s) drops the connections of other hosts to stacks that "
                     "sleep. Add the rule: %s",
                     chain->name, reader->family, reader->table, rule) < 0) {
                sentence = NULL;
                return -ENOMEM;
        }
        return strv_append(&reader->sentences, sentence);
}

static bool family_is_of_hosts(const char *family) {
        return streq(family, "ip") || streq(family, "ip6") || streq(family, "inet");
}

static int reader_judge_table(Reader *reader) {
        int r = 0;

        for (size_t i = 0; i < reader->n_chains && family_is_of_hosts(reader->family) && r >= 0; i++) {
                Chain *chain = &reader->chains[i];
                Verdict verdict;

                if (!chain->on_input)
                        continue;
                verdict = chain_follow(reader, chain, 0);
                if (verdict == VERDICT_DROPS || (verdict == VERDICT_GOES_ON && chain->policy_drop))
                        r = reader_tell(reader, chain);
        }
        return r;
}

/* Moves behind a prefix. */
static bool skip(const char **text, const char *prefix) {
        size_t size = strlen(prefix);

        if (strncmp(*text, prefix, size) != 0)
                return false;
        *text += size;
        return true;
}

static bool skip_counter(const char **text) {
        int n = 0;

        (void) sscanf(*text, "counter packets %*u bytes %*u %n", &n);
        if (n == 0)
                (void) sscanf(*text, "counter name %*s %n", &n);
        *text += n;
        return n > 0;
}

/* log prefix "…" level warn flags tcp options */
static bool skip_log(const char **text) {
        static const char *const options[] = { "level ", "flags tcp ", "flags ip ",       "flags ",
                                               "group ", "snaplen ",   "queue-threshold " };

        if (!skip(text, "log "))
                return false;
        for (bool more = true; more;) {
                more = skip(text, "prefix \"");
                if (more) {
                        *text = strchrnul(*text, '"');
                        *text += **text == '"';
                }
                for (size_t i = 0; i < ELEMENTSOF(options) && !more; i++) {
                        more = skip(text, options[i]);
                        if (more)
                                *text += strcspn(*text, " ");
                }
                *text += **text == ' ';
        }
        return true;
}

/* What is true of every client of a stack that sleeps. */
static bool skip_truth(const char **text) {
        static const char *const truths[] = {
                "ct state new ",
                "ct direction original ",
                "ct status dnat ",
                "ct status & dnat != 0 ",
                "ct status & dnat == dnat ",
                "fib daddr type local ",
                "iif != \"lo\" ",
                "iifname != \"lo\" ",
                "ip protocol tcp ",
                "ip6 nexthdr tcp ",
                "meta l4proto 6 ",
                "meta l4proto tcp ",
                "meta nfproto ipv4 ",
                "meta nfproto ipv6 ",
                "tcp flags syn / fin,syn,rst,ack ",
                "tcp flags & (fin | syn | rst | ack) == syn ",
        };

        for (size_t i = 0; i < ELEMENTSOF(truths); i++)
                if (skip(text, truths[i]))
                        return true;
        return false;
}

/* Under some further condition: from one network, for one interface. */
static bool rule_accepts_redirected(const char *rule) {
        const char *status = strstr(rule, "ct status "), *end = rule + strlen(rule);

        return status && strstr(status, "dnat") && !strstr(status, "!= dnat") && end - rule > 6 &&
               streq(end - strlen("accept"), "accept");
}

static int chain_add(Chain *chain, RuleKind kind, const char *target) {
        Rule *larger = reallocarray(chain->rules, chain->n_rules + 1, sizeof(*larger));

        if (!larger)
                return -ENOMEM;
        chain->rules = larger;
        chain->rules[chain->n_rules] = (Rule){ .kind = kind, .target = target ? strdup(target) : NULL };
        if (target && !chain->rules[chain->n_rules].target)
                return -ENOMEM;
        chain->n_rules++;
        return 0;
}

static int chain_read_rule(Chain *chain, char *line) {
        char *comment = strstr(line, " comment \"");
        const char *rule = line;

        if (comment)
                *comment = '\0';
        if (strncmp(rule, "type filter hook input ", strlen("type filter hook input ")) == 0) {
                chain->on_input = true;
                chain->policy_drop = strstr(rule, "policy drop;");
                return 0;
        }
        if (rule_accepts_redirected(rule))
                return chain_add(chain, RULE_ACCEPT, NULL);

        while (skip_counter(&rule) || skip_log(&rule) || skip_truth(&rule))
                ;
        if (streq(rule, "accept"))
                return chain_add(chain, RULE_ACCEPT, NULL);
        if (streq(rule, "drop") || streq(rule, "reject") || skip(&rule, "reject with "))
                return chain_add(chain, RULE_DROP, NULL);
        if (streq(rule, "return"))
                return chain_add(chain, RULE_RETURN, NULL);
        if (skip(&rule, "jump "))
                return chain_add(chain, RULE_JUMP, rule);
        if (skip(&rule, "goto "))
                return chain_add(chain, RULE_GOTO, rule);
        return 0;
}

static int reader_begin_chain(Reader *reader, const char *name) {
        Chain *larger = reallocarray(reader->chains, reader->n_chains + 1, sizeof(*larger));

        if (!larger)
                return -ENOMEM;
        reader->chains = larger;
        reader->chains[reader->n_chains] = (Chain){ .name = strdup(name) };
        if (!reader->chains[reader->n_chains].name)
                return -ENOMEM;
        reader->n_chains++;
        reader->in_chain = true;
        return 0;
}

static int reader_line(Reader *reader, char *line) {
        char chain[128];
        int r;

        if (strncmp(line, "# Warning: table ", strlen("# Warning: table ")) == 0 && strstr(line, "iptables")) {
                reader->managed = true;
                return 0;
        }
        if (sscanf(line, "table %15s %127s {", reader->family, reader->table) == 2)
                return 0;
        if (sscanf(line, "\tchain %127s {", chain) == 1)
                return reader_begin_chain(reader, chain);
        if (streq(line, "}")) {
                r = reader_judge_table(reader);
                reader_end_table(reader);
                return r;
        }
        if (streq(line, "\t}"))
                reader->in_chain = false;
        else if (reader->in_chain && strncmp(line, "\t\t", 2) == 0)
                return chain_read_rule(&reader->chains[reader->n_chains - 1], line + 2);
        return 0;
}

int firewall_find_drops(char ***ret, const char *ruleset) {
        _cleanup_free_ char *copy = NULL;
        Reader reader = {};
        char *rest, *line;
        int r = 0;

        assert(ret);
        assert(ruleset);

        copy = strdup(ruleset);
        if (!copy)
                return -ENOMEM;

        for (line = strtok_r(copy, "\n", &rest); line && r >= 0; line = strtok_r(NULL, "\n", &rest))
                r = reader_line(&reader, line);

        reader_end_table(&reader);
        if (r < 0) {
                strv_free(reader.sentences);
                return r;
        }
        *ret = reader.sentences;
        return 0;
}

int firewall_check(char ***ret) {
        _cleanup_(redirect_freep) Redirect *redirect = NULL;
        _cleanup_free_ char *ruleset = NULL;
        int r;

        assert(ret);

        r = redirect_new(&redirect);
        if (r >= 0)
                r = redirect_list_ruleset(redirect, &ruleset);
        return r < 0 ? r : firewall_find_drops(ret, ruleset);
}
