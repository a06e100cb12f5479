
#-------------------------------------------------------------------------
#
# report.pl
#	  mailman_report() of 10,000 recipients, looked at by Chromium.
#
# Light and dark, wide and narrow, and on paper: the pictures are left in
# WATCH (a directory that user postgres can write) for a person to judge;
# here only that nothing is wider than its window and that the browser has no
# complaint.  Skipped without chromium.
#
#	WATCH=/tmp/look TESTS=test/long/report.pl test/run-tests
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use File::Temp ();
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Fates;

my ($chromium) = grep { -x } map { "$_/chromium" } split(/:/, $ENV{PATH});
plan skip_all => 'chromium is not installed' unless defined $chromium;

my $directory = $ENV{WATCH} || File::Temp->newdir(TMPDIR => 1);
my $node = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf => { 'mailman.pause_rejections' => 0, 'mailman.pause_failures' => 0 });
my $fates = Mailman::Fates->new($node, 10_000);

# Run it on a page; (what it has written, what it has to say of the page)
sub browse
{
	my ($page, @options) = @_;
	my ($out, $err) = ('', '');
	my $profile = File::Temp->newdir(TMPDIR => 1);

	IPC::Run::run(
		[
			$chromium, '--headless', '--no-sandbox', '--disable-gpu',
			'--no-first-run', '--disable-background-networking',
			'--disable-component-update', '--disable-sync',
			'--hide-scrollbars', '--enable-logging=stderr',
			"--user-data-dir=$profile", '--virtual-time-budget=3000',
			@options, "file://$page"
		],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
	return ($out, join("\n", grep { /CONSOLE/ } split(/\n/, $err)));
}

# A page around it that tells how wide the report is in a window of a width:
# headless Chromium has no window narrower than 500
sub width
{
	my ($name, $width) = @_;
	my $frame = "$directory/$name-frame.html";

	append_to_file($frame, <<"END");
<!DOCTYPE html><body><iframe id="f" src="$name.html"
style="width:${width}px;height:4000px;border:0"></iframe><pre id="w"></pre>
<script>onload = function () { document.getElementById('w').textContent =
'wide ' + document.getElementById('f').contentDocument.documentElement
.scrollWidth; }</script></body>
END
	my ($out) = browse($frame, '--allow-file-access-from-files', '--dump-dom');
	unlink $frame;
	return $out =~ /wide (\d+)/ ? $1 : undef;
}

sub look
{
	my ($name, $letter) = @_;
	my $page = "$directory/$name.html";

	unlink $page;
	append_to_file($page, $node->sql("SELECT mailman_report($letter)"));
	foreach my $width (360, 768, 1400)
	{
		is(width($name, $width), $width, "$name fits $width pixels");
	}
	my %shots = (
		light => ['--window-size=1400,3600'],
		dark => [
			'--window-size=1400,3600',
			'--blink-settings=preferredColorScheme=0'
		],
		narrow => ['--window-size=500,5000']);
	foreach my $shot (sort keys %shots)
	{
		my $file = "$directory/$name-$shot.png";
		my (undef, $said) =
		  browse($page, "--screenshot=$file", @{ $shots{$shot} });
		is($said, '', "$name, $shot: the console is empty");
		ok(-s $file, "$name, $shot: a picture");
	}
	my $paper = "$directory/$name.pdf";
	browse($page, '--no-pdf-header-footer', "--print-to-pdf=$paper");
	ok(-s $paper, "$name: on paper");
	return;
}

look('draft', $fates->letter);
ok($fates->send, 'sent as far as it can be');
look('sent', $fates->letter);
$_->stop foreach $fates->relays;
$node->stop;
done_testing();
