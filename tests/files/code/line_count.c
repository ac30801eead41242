/* Counts lines, words and bytes of what it reads. */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>

struct counts {
    unsigned long lines, words, bytes;
};

static struct counts count(FILE *file)
{
    struct counts found = {0};
    bool in_word = false;
    int byte;

    while ((byte = getc(file)) != EOF) {
        found.bytes++;
        found.lines += byte == '\n';
        bool is_letter = !isspace(byte);
        found.words += is_letter && !in_word;
        in_word = is_letter;
    }
    return found;
}

int main(void)
{
    struct counts found = count(stdin);

    printf("%lu lines, %lu words, %lu bytes\n", found.lines, found.words, found.bytes);
    return ferror(stdin) ? 1 : 0;
}
