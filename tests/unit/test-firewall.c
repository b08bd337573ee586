#include "io/firewall.h"
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
        test_nonsense();
        return 0;
}
