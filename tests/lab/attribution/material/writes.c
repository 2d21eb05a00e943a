/* Writes and ends. */
#include <fcntl.h>
#include <unistd.h>
int main(int count, char **words) {
    int file = count == 2 ? open(words[1], O_WRONLY | O_TRUNC) : -1;
    return write(file, "changed\n", 8) != 8;
}
