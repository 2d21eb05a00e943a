/* One system call on the file, and over. */
#include <unistd.h>
int main(int count, char **words) { return count == 2 ? truncate(words[1], 0) : 1; }
