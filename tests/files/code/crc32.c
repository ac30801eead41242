/* The checksum of ZIP and PNG, a byte at a time. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

static uint32_t table[256];

static void fill_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t rest = byte;
        for (int bit = 0; bit < 8; bit++)
            rest = rest & 1 ? 0xEDB88320u ^ (rest >> 1) : rest >> 1;
        table[byte] = rest;
    }
}

static uint32_t crc32(uint32_t crc, const unsigned char *bytes, size_t count)
{
    crc = ~crc;
    while (count--)
        crc = table[(crc ^ *bytes++) & 0xFF] ^ (crc >> 8);
    return ~crc;
}

int main(void)
{
    unsigned char block[4096];
    uint32_t crc = 0;
    size_t count;

    fill_table();
    while ((count = fread(block, 1, sizeof block, stdin)) > 0)
        crc = crc32(crc, block, count);
    if (ferror(stdin)) {
        perror("crc32");
        return 1;
    }
    printf("%08x\n", (unsigned)crc);
    return 0;
}
