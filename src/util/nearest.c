#include <stdio.h>

#include "util/nearest.h"

/* Nearest, by the number of letters to insert, remove, replace or swap with their neighbour. A difference of
 * case counts as nothing, and a third of the word may be wrong; words beyond any name's length are not looked
 * at. */

#define WORD_MAX 64

static unsigned char lower(char c) {
        return (unsigned char) (c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

static size_t distance(const char *a, size_t n_a, const char *b, size_t n_b) {
        size_t rows[3][WORD_MAX + 1], *before = rows[0], *last = rows[1], *row = rows[2];

        memset(rows, 0, sizeof(rows));
        for (size_t j = 0; j <= n_b; j++)
                last[j] = j;
        for (size_t i = 1; i <= n_a; i++) {
                size_t *oldest = before;

                row[0] = i;
                for (size_t j = 1; j <= n_b; j++) {
                        bool same = lower(a[i - 1]) == lower(b[j - 1]);

                        row[j] = MIN(MIN(row[j - 1], last[j]) + 1, last[j - 1] + !same);
                        if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                            lower(a[i - 2]) == lower(b[j - 1]))
                                row[j] = MIN(row[j], before[j - 2] + 1);
                }
                before = last;
                last = row;
                row = oldest;
        }
        return last[n_b];
}

void nearest_offer(Nearest *nearest, const char *name) {
        size_t n_word, n_name, d;

        n_word = strnlen(nearest->word, WORD_MAX + 1);
        n_name = strnlen(name, WORD_MAX + 1);
        if (n_word == 0 || n_word > WORD_MAX || n_name > WORD_MAX)
                return;

        d = distance(nearest->word, n_word, name, n_name);
        if (d <= MAX(n_word / 3, (size_t) 1) && d < n_name && (!nearest->name || d < nearest->distance)) {
                nearest->name = name;
                nearest->distance = d;
        }
}

const char *nearest_hint(const Nearest *nearest, char buffer[static NEAREST_HINT_MAX]) {
        buffer[0] = '\0';
        if (nearest->name)
                (void) snprintf(buffer, NEAREST_HINT_MAX, ", did you mean '%s'?", nearest->name);
        return buffer;
}
