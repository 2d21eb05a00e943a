/* Deletes its own program, then writes. With a second word it stays until another file is in the place of the one it
 * wrote to; a limit ends it when nobody puts that there. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int count, char **words) {
    struct stat mine, there;
    int turns, file = -1;
    if (count >= 2 && unlink(words[0]) == 0) file = open(words[1], O_WRONLY | O_TRUNC);
    if (write(file, "changed\n", 8) != 8 || fstat(file, &mine) != 0) return 1;
    for (turns = 0; count == 3 && turns < 600; turns++) {
        if (stat(words[1], &there) == 0 && there.st_ino != mine.st_ino) return 0;
        usleep(100000);
    }
    return 0;
}
