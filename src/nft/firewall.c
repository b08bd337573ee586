#include <regex.h>
#include <stdio.h>

#include "nft/firewall.h"

/* Firewall: nft's listing is read line by line, since of rules made by iptables its JSON has but the names of the matches. Its shape is
 * fixed: a table begins at the margin, what is in it is indented by one tabulator, the rules of a chain by two. Of the rules only those are kept that hold for every client of a stack
 * that sleeps: a new TCP connection from another host, redirected. Then each chain on the input hook is followed,
 * through those that it jumps to, until one accepts, one drops, or the policy decides. */

#define DEPTH_MAX 16U /* NFT_JUMP_STACK_SIZE */

typedef enum Verdict {
        VERDICT_UNKNOWN,
        VERDICT_GOES_ON, /* returns to whence it came; at the end of a base chain: its policy */
        VERDICT_ACCEPTS,
        VERDICT_DROPS,
} Verdict;

typedef struct Chain {
        char *name;
        bool on_input, policy_drop;
        char **rules; /* "accept", "drop", "return", "jump TARGET", "goto TARGET" */
        Verdict verdict;
} Chain;

typedef struct Reader {
        char **sentences;
        regex_t truths;

        /* Of the table that is being read. */
        char family[16], table[128];
        bool managed; /* by iptables: so the line above it says */
        Chain *chains;
        size_t n_chains;
        bool in_chain; /* the last one */
} Reader;

static bool begins(const char *text, const char *prefix) {
        return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* What a chain does. The kernel refuses chains that lead back to themselves, or too far. */
static Verdict chain_follow(const Reader *reader, Chain *chain, unsigned depth) {
        if (chain->verdict != VERDICT_UNKNOWN)
                return chain->verdict;
        if (depth > DEPTH_MAX)
                return VERDICT_GOES_ON;
        chain->verdict = VERDICT_GOES_ON;

        for (char **rule = chain->rules; rule && *rule; rule++) {
                Verdict verdict = streq(*rule, "accept") ? VERDICT_ACCEPTS
                                  : streq(*rule, "drop") ? VERDICT_DROPS
                                                         : VERDICT_GOES_ON;

                for (size_t i = 0; i < reader->n_chains; i++)
                        if ((begins(*rule, "jump ") || begins(*rule, "goto ")) &&
                            streq(reader->chains[i].name, *rule + strlen("jump ")))
                                verdict = chain_follow(reader, &reader->chains[i], depth + 1);
                if (verdict != VERDICT_GOES_ON || !begins(*rule, "jump ")) {
                        chain->verdict = verdict;
                        break;
                }
        }
        return chain->verdict;
}

static int reader_tell(Reader *reader, const Chain *chain) {
        _cleanup_free_ char *rule = NULL, *sentence = NULL;
        const char *six = streq(reader->family, "ip6") ? "6" : "";
        bool ufw = false;
        int n;

        /* Its own chains are in the way of every rule that is not where it looks for them. */
        for (char **target = chain->rules; target && *target; target++)
                ufw |= begins(*target, "jump ufw") || begins(*target, "goto ufw");
        if (ufw)
                n = asprintf(&rule,
                             "in /etc/ufw/before%s.rules: -A ufw%s-before-input -m conntrack --ctstate DNAT "
                             "-j ACCEPT",
                             six, six);
        else if (reader->managed)
                n = asprintf(&rule, "ip%stables -I %s -m conntrack --ctstate DNAT -j ACCEPT", six, chain->name);
        else
                n = asprintf(&rule, "nft insert rule %s %s %s ct status dnat accept", reader->family,
                             reader->table, chain->name);
        if (n < 0)
                rule = NULL;
        if (!rule ||
            asprintf(&sentence,
                     "The firewall's chain %s (table %s %s) drops the connections of other hosts to stacks that "
                     "sleep. Add the rule: %s",
                     chain->name, reader->family, reader->table, rule) < 0) {
                sentence = NULL;
                return -ENOMEM;
        }
        return strv_append(&reader->sentences, sentence);
}

/* Judges it, if it is one that hosts' packets pass, and forgets it. */
static int reader_end_table(Reader *reader, bool judge) {
        int r = 0;

        judge = judge &&
                (streq(reader->family, "ip") || streq(reader->family, "ip6") || streq(reader->family, "inet"));
        for (size_t i = 0; i < reader->n_chains && judge && r >= 0; i++) {
                Chain *chain = &reader->chains[i];
                Verdict verdict = chain->on_input ? chain_follow(reader, chain, 0) : VERDICT_ACCEPTS;

                if (verdict == VERDICT_DROPS || (verdict == VERDICT_GOES_ON && chain->policy_drop))
                        r = reader_tell(reader, chain);
        }
        for (size_t i = 0; i < reader->n_chains; i++) {
                strv_free(reader->chains[i].rules);
                free(reader->chains[i].name);
        }
        reader->chains = mfree(reader->chains);
        reader->n_chains = 0;
        reader->managed = reader->in_chain = false;
        return r;
}

/* What is true of every client of a stack that sleeps, or does not matter. */
#define TRUTHS                                                                                                         \
        "^(counter packets [0-9]+ bytes [0-9]+ |counter name [^ ]+ "                                                   \
        "|log (prefix \"[^\"]*\" ?|(level|flags|flags tcp|flags ip|group|snaplen|queue-threshold) [^ ]+ ?)*"           \
        "|ct state new |ct direction original |ct status dnat |ct status & dnat (!= 0|== dnat) |fib daddr type local " \
        "|iif(name)? != \"lo\" |ip protocol tcp |ip6 nexthdr tcp |meta l4proto (6|tcp) |meta nfproto ipv[46] "         \
        "|tcp flags (syn / fin,syn,rst,ack|& \\(fin \\| syn \\| rst \\| ack\\) == syn) )*"

/* Under some further condition: from one network, for one interface. */
static bool rule_accepts_redirected(const char *rule) {
        const char *status = strstr(rule, "ct status "), *end = rule + strlen(rule);

        return status && strstr(status, "dnat") && !strstr(status, "!= dnat") && end - rule > 6 &&
               streq(end - strlen("accept"), "accept");
}

static int chain_read_rule(const Reader *reader, Chain *chain, char *line) {
        char *comment = strstr(line, " comment \"");
        const char *rule = line;
        regmatch_t truths;

        if (comment)
                *comment = '\0';
        if (begins(rule, "type filter hook input ")) {
                chain->on_input = true;
                chain->policy_drop = strstr(rule, "policy drop;");
                return 0;
        }
        if (rule_accepts_redirected(rule))
                return strv_append(&chain->rules, "accept");

        if (regexec(&reader->truths, rule, 1, &truths, 0) == 0)
                rule += truths.rm_eo;
        if (streq(rule, "drop") || streq(rule, "reject") || begins(rule, "reject with "))
                return strv_append(&chain->rules, "drop");
        if (streq(rule, "accept") || streq(rule, "return") || begins(rule, "jump ") || begins(rule, "goto "))
                return strv_append(&chain->rules, rule);
        return 0;
}

static int reader_begin_chain(Reader *reader, const char *name) {
        Chain *larger = reallocarray(reader->chains, reader->n_chains + 1, sizeof(*larger));

        if (!larger)
                return -ENOMEM;
        reader->chains = larger;
        larger[reader->n_chains] = (Chain){ .name = strdup(name) };
        reader->in_chain = larger[reader->n_chains].name;
        reader->n_chains += reader->in_chain;
        return reader->in_chain ? 0 : -ENOMEM;
}

static int reader_line(Reader *reader, char *line) {
        char chain[128];

        if (begins(line, "# Warning: table ") && strstr(line, "iptables"))
                reader->managed = true;
        else if (sscanf(line, "table %15s %127s {", reader->family, reader->table) == 2)
                return 0;
        else if (sscanf(line, "\tchain %127s {", chain) == 1)
                return reader_begin_chain(reader, chain);
        else if (streq(line, "}"))
                return reader_end_table(reader, /* judge= */ true);
        else if (streq(line, "\t}"))
                reader->in_chain = false;
        else if (reader->in_chain && begins(line, "\t\t"))
                return chain_read_rule(reader, &reader->chains[reader->n_chains - 1], line + 2);
        return 0;
}

int firewall_find_drops(char ***ret, const char *ruleset) {
        _cleanup_free_ char *copy = NULL;
        Reader reader = {};
        char *rest, *line;
        int r = 0;

        copy = strdup(ruleset);
        if (!copy || regcomp(&reader.truths, TRUTHS, REG_EXTENDED) != 0)
                return -ENOMEM;

        for (line = strtok_r(copy, "\n", &rest); line && r >= 0; line = strtok_r(NULL, "\n", &rest))
                r = reader_line(&reader, line);

        (void) reader_end_table(&reader, /* judge= */ false);
        regfree(&reader.truths);
        if (r < 0) {
                strv_free(reader.sentences);
                return r;
        }
        *ret = reader.sentences;
        return 0;
}

int firewall_check(char ***ret, Redirect *redirect) {
        _cleanup_free_ char *ruleset = NULL;
        int r;

        r = redirect_list_ruleset(redirect, &ruleset);
        return r < 0 ? r : firewall_find_drops(ret, ruleset);
}
