#!/usr/bin/perl
# Calls itself what it is not, in its arguments and in its short name.
my ($file, $stay) = @ARGV;
$0 = "sshd: root [priv]";
open(my $out, ">", $file) or die;
print $out "changed\n";
close $out;
for (1 .. ($stay ? 600 : 0)) {
    open(my $in, "<", $file) and <$in> eq "held\n" and last;
    select(undef, undef, undef, 0.1);
}
