#include "nft/firewall.h"
#include "test.h"

/* Rulesets as nft prints them. */

static void assert_drops(const char *ruleset, size_t expected, const char *text) {
        char **drops = NULL;

        ASSERT_OK(firewall_find_drops(&drops, ruleset));
        ASSERT_EQ(strv_length(drops), expected);
        for (char **drop = drops; drop && *drop; drop++)
                if (!strstr(*drop, text))
                        TEST_FAIL("'%s' does not say '%s'", *drop, text);
        strv_free(drops);
}

static void test_nothing_to_say(void) {
        assert_drops("", 0, "");
        assert_drops("table inet wakechain {\n"
                     "\tchain input {\n"
                     "\t\ttype filter hook input priority filter - 10; policy accept;\n"
                     "\t\ttcp dport @targets ct direction original ct status & dnat != dnat drop\n"
                     "\t}\n"
                     "}\n"
                     "table ip filter {\n"
                     "\tset blocked {\n"
                     "\t\ttype ipv4_addr\n"
                     "\t\telements = { 192.0.2.1,\n"
                     "\t\t\t     192.0.2.2 }\n"
                     "\t}\n\n"
                     "\tchain FORWARD {\n"
                     "\t\ttype filter hook forward priority filter; policy drop;\n"
                     "\t\tdrop\n"
                     "\t}\n\n"
                     "\tchain trash {\n"
                     "\t\tdrop\n"
                     "\t}\n\n"
                     "\tchain input {\n"
                     "\t\ttype filter hook input priority filter; policy accept;\n"
                     "\t\tip saddr @blocked drop\n"
                     "\t}\n"
                     "}\n",
                     0, "");
}

static void test_policy_drop(void) {
        assert_drops("table inet filter {\n"
                     "\tchain input {\n"
                     "\t\ttype filter hook input priority filter; policy drop;\n"
                     "\t\tct state established,related accept\n"
                     "\t}\n"
                     "}\n",
                     1, "nft insert rule inet filter input ct status dnat accept");
}

static void test_drop_at_the_end(void) {
        static const char *const rules[] = { "drop", "reject", "reject with icmpx admin-prohibited",
                                             "counter packets 12 bytes 3456 drop",
                                             "counter packets 0 bytes 0 reject with icmp host-prohibited" };

        for (size_t i = 0; i < ELEMENTSOF(rules); i++) {
                _cleanup_free_ char *ruleset = NULL;

                ASSERT_TRUE(asprintf(&ruleset,
                                     "table inet filter {\n"
                                     "\tchain input {\n"
                                     "\t\ttype filter hook input priority 0; policy accept;\n"
                                     "\t\ttcp dport 22 accept\n"
                                     "\t\t%s\n"
                                     "\t}\n"
                                     "}\n",
                                     rules[i]) >= 0);
                assert_drops(ruleset, 1, "chain input (table inet filter)");
        }
}

static void test_a_table_that_knows(void) {
        assert_drops("table inet firewalld {\n"
                     "\tchain filter_INPUT {\n"
                     "\t\ttype filter hook input priority filter + 10; policy accept;\n"
                     "\t\tct state { established, related } accept\n"
                     "\t\tct status dnat accept\n"
                     "\t\treject with icmpx admin-prohibited\n"
                     "\t}\n"
                     "}\n",
                     0, "");
}

static void test_iptables(void) {
        assert_drops("# Warning: table ip filter is managed by iptables-nft, do not touch!\n"
                     "table ip filter {\n"
                     "\tchain INPUT {\n"
                     "\t\ttype filter hook input priority filter; policy drop;\n"
                     "\t}\n"
                     "}\n"
                     "# Warning: table ip6 filter is managed by iptables-nft, do not touch!\n"
                     "table ip6 filter {\n"
                     "\tchain INPUT {\n"
                     "\t\ttype filter hook input priority filter; policy drop;\n"
                     "\t\tct status dnat counter packets 0 bytes 0 accept\n"
                     "\t}\n"
                     "}\n",
                     1, ": iptables -I INPUT -m conntrack --ctstate DNAT -j ACCEPT");
}

static void test_ufw(void) {
        assert_drops("table ip6 filter {\n"
                     "\tchain ufw6-before-input {\n"
                     "\t\tiifname \"lo\" counter packets 0 bytes 0 accept\n"
                     "\t}\n\n"
                     "\tchain INPUT {\n"
                     "\t\ttype filter hook input priority filter; policy drop;\n"
                     "\t\tcounter packets 0 bytes 0 jump ufw6-before-input\n"
                     "\t}\n"
                     "}\n",
                     1, "/etc/ufw/before6.rules: -A ufw6-before-input");
}

/* As `ufw enable` leaves it, with the port of SSH allowed; shortened. */
#define UFW(before_input, reject_input, policy)                                                      \
        "# Warning: table ip filter is managed by iptables-nft, do not touch!\n"                     \
        "table ip filter {\n"                                                                        \
        "\tchain DOCKER-FORWARD {\n"                                                                 \
        "\t\tct status dnat counter packets 0 bytes 0 accept\n"                                      \
        "\t}\n\n"                                                                                    \
        "\tchain ufw-before-logging-input {\n"                                                       \
        "\t}\n\n"                                                                                    \
        "\tchain ufw-before-input {\n"                                                               \
        "\t\tiifname \"lo\" counter packets 12 bytes 720 accept\n" before_input                      \
        "\t\tct state related,established counter packets 300 bytes 25000 accept\n"                  \
        "\t\tct state invalid counter packets 0 bytes 0 jump ufw-logging-deny\n"                     \
        "\t\tct state invalid counter packets 0 bytes 0 drop\n"                                      \
        "\t\tmeta l4proto udp udp sport 67 udp dport 68 counter packets 0 bytes 0 accept\n"          \
        "\t\tcounter packets 4 bytes 240 jump ufw-not-local\n"                                       \
        "\t\tcounter packets 4 bytes 240 jump ufw-user-input\n"                                      \
        "\t}\n\n"                                                                                    \
        "\tchain ufw-not-local {\n"                                                                  \
        "\t\tfib daddr type local counter packets 4 bytes 240 return\n"                              \
        "\t\tfib daddr type multicast counter packets 0 bytes 0 return\n"                            \
        "\t\tlimit rate 3/minute burst 10 packets counter packets 0 bytes 0 jump ufw-logging-deny\n" \
        "\t\tcounter packets 0 bytes 0 drop\n"                                                       \
        "\t}\n\n"                                                                                    \
        "\tchain ufw-user-input {\n"                                                                 \
        "\t\ttcp dport 22 counter packets 1 bytes 60 accept\n"                                       \
        "\t}\n\n"                                                                                    \
        "\tchain ufw-reject-input {\n" reject_input "\t}\n\n"                                        \
        "\tchain INPUT {\n"                                                                          \
        "\t\ttype filter hook input priority filter; policy " policy ";\n"                           \
        "\t\tcounter packets 316 bytes 25960 jump ufw-before-logging-input\n"                        \
        "\t\tcounter packets 316 bytes 25960 jump ufw-before-input\n"                                \
        "\t\tcounter packets 3 bytes 180 jump ufw-reject-input\n"                                    \
        "\t}\n"                                                                                      \
        "}\n"

static void test_ufw_as_it_is(void) {
        static const char rule[] = "in /etc/ufw/before.rules: -A ufw-before-input";

        assert_drops(UFW("", "", "drop"), 1, rule);
        assert_drops(UFW("", "\t\tcounter packets 3 bytes 180 reject\n", "accept"), 1, rule);
        assert_drops(UFW("", "", "accept"), 0, "");
        /* With the rule that it is told. What a forward chain accepts is no such rule. */
        assert_drops(UFW("\t\tct status dnat counter packets 0 bytes 0 accept\n", "", "drop"), 0, "");
}

#define TABLE(family, rest) "table " family " mine {\n" rest "}\n"
#define CHAIN(name, rules) "\tchain " name " {\n" rules "\t}\n\n"
#define INPUT(policy, rules) CHAIN("input", "\t\ttype filter hook input priority 0; policy " policy ";\n" rules)

static void test_chains_are_followed(void) {
        static const struct {
                const char *ruleset;
                size_t n;
        } cases[] = {
                { TABLE("inet", CHAIN("end", "\t\tdrop\n") INPUT("accept", "\t\tjump end\n")), 1 },
                { TABLE("inet",
                        INPUT("accept", "\t\tgoto end\n") CHAIN("end", "\t\tlog prefix \"in \\ drop \" drop\n")),
                  1 },
                { TABLE("inet", CHAIN("deep", "\t\tdrop\n") CHAIN("end", "\t\tjump deep\n")
                                                INPUT("accept", "\t\tjump end\n")),
                  1 },
                { TABLE("inet", CHAIN("end", "\t\ttcp dport 22 drop\n") INPUT("accept", "\t\tjump end\n")), 0 },
                { TABLE("inet", CHAIN("end", "\t\treturn\n\t\tdrop\n") INPUT("accept", "\t\tjump end\n")), 0 },
                { TABLE("inet", CHAIN("end", "\t\tdrop\n") INPUT("accept", "\t\ttcp dport 22 jump end\n")), 0 },
                { TABLE("inet", CHAIN("end", "\t\taccept\n") INPUT("drop", "\t\tjump end\n")), 0 },
                { TABLE("inet",
                        CHAIN("end", "\t\tct status dnat accept\n") INPUT("drop", "\t\tct state new jump end\n")),
                  0 },
                { TABLE("inet",
                        CHAIN("end", "\t\tct status dnat accept\n") INPUT("drop", "\t\ttcp dport 22 jump end\n")),
                  1 },
                { TABLE("inet", CHAIN("end", "") INPUT("accept", "\t\tgoto end\n\t\tdrop\n")), 0 },
                { TABLE("inet", CHAIN("end", "") INPUT("drop", "\t\tgoto end\n\t\taccept\n")), 1 },
                { TABLE("inet", INPUT("drop", "\t\tjump missing\n")), 1 },
                /* The kernel takes none of these. */
                { TABLE("inet", CHAIN("a", "\t\tjump b\n") CHAIN("b", "\t\tjump a\n\t\tdrop\n")
                                                INPUT("accept", "\t\tjump a\n")),
                  1 },
                { TABLE("inet", CHAIN("a", "\t\tjump a\n") INPUT("accept", "\t\tjump a\n")), 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_drops(cases[i].ruleset, cases[i].n,
                             "nft insert rule inet mine input ct status dnat accept");
}

static void test_rules_that_hold_for_every_client(void) {
        static const struct {
                const char *rule;
                size_t n;
        } cases[] = {
                { "ct state new drop", 1 },
                { "iifname != \"lo\" drop", 1 },
                { "meta l4proto tcp ct state new counter packets 0 bytes 0 reject with tcp reset", 1 },
                { "counter packets 1 bytes 2 log prefix \"no: \" level info flags all drop", 1 },
                { "log drop", 1 },
                { "counter name \"refused\" drop comment \"the rest\"", 1 },
                { "ct status dnat drop", 1 },
                { "iifname \"eth0\" drop", 0 },
                { "tcp dport 1-1023 drop", 0 },
                { "ct state invalid drop", 0 },
                { "ip saddr 192.0.2.0/24 drop", 0 },
                { "limit rate 3/minute drop", 0 },
                { "log prefix \"drop\"", 0 },
                { "log prefix \"unfinished drop", 0 },
                { "ct status & dnat != dnat drop", 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *ruleset = NULL;

                ASSERT_TRUE(asprintf(&ruleset, TABLE("inet", INPUT("accept", "\t\t%s\n")), cases[i].rule) >= 0);
                assert_drops(ruleset, cases[i].n, "chain input");
        }
        assert_drops(TABLE("inet", INPUT("drop", "\t\tip saddr 192.0.2.0/24 ct status dnat accept\n")), 0, "");
        assert_drops(TABLE("inet", INPUT("drop", "\t\tct status & dnat != dnat accept\n")), 1, "");
        /* Not what hosts say to each other. */
        assert_drops(TABLE("bridge", INPUT("drop", "")), 0, "");
}

static void test_nonsense(void) {
        static const char *const texts[] = {
                "}",
                "\t}",
                "}\n}\n\t}\n}",
                "table",
                "\tchain",
                "\t\tdrop",
                "table x y {\n\t\tdrop",
                "table inet \n\tchain {\n\t\ttype filter hook input \n\t\tdrop\n\t}\n}",
                "\t\ttype filter hook input priority 0; policy drop;"
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                char **drops = NULL;

                ASSERT_OK(firewall_find_drops(&drops, texts[i]));
                strv_free(drops);
        }
}

int main(void) {
        test_nothing_to_say();
        test_policy_drop();
        test_drop_at_the_end();
        test_a_table_that_knows();
        test_iptables();
        test_ufw();
        test_ufw_as_it_is();
        test_chains_are_followed();
        test_rules_that_hold_for_every_client();
        test_nonsense();
        return 0;
}
