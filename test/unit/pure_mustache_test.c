/*-------------------------------------------------------------------------
 *
 * pure_mustache_test.c
 *	  Does template.c do what the Mustache specification says?
 *
 * A case for each thing the specification (github.com/mustache/spec) asks
 * for, in its order; all are rendered as HTML.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

typedef struct MustacheCase
{
	const char *title;
	const char *source;
	const char *data;			/* JSON */
	const char *expected;
	const char *partials[6];	/* name, source, ...; NULL */
} MustacheCase;

static const MustacheCase comments[] = {
	{"inline", "ab{{! c }}de", "{}", "abde"},
	{"of several lines", "ab{{!\n c\n d...\n}}e\n", "{}", "abe\n"},
	{"alone", "a\n{{! c }}\nb\n", "{}", "a\nb\n"},
	{"alone, indented", "a\n \t{{! c }}\nb\n", "{}", "a\nb\n"},
	{"alone, CRLF", "|\r\n{{! c }}\r\n|", "{}", "|\r\n|"},
	{"alone in the first line", "  {{! c }}\n!", "{}", "!"},
	{"alone in the last line", "!\n  {{! c }}", "{}", "!\n"},
	{"alone, several lines", "a\n{{!\nb...\n}}\nc\n", "{}", "a\nc\n"},
	{"alone, indented, several lines", "a\n  {{!\n  b\n  }}\nc\n", "{}",
	"a\nc\n"},
	{"with text before it", "  ab {{! c }}\n", "{}", "  ab \n"},
	{"with blanks around it", "ab {{! c }} de", "{}", "ab  de"},
	{"whatever is called so", ">{{! c }}<",
	"{\"! c\": 1, \"!c\": 2, \"c\": 3}", "><"},
	{"with single braces in it", "a{{! { } }}b", "{}", "ab"},
	{"two in a line are not alone", "a\n{{! b }} {{! c }}\nd", "{}",
	"a\n \nd"},
	{"after one that ends in its line", "{{! a\n }} {{! b }}\nc", "{}",
	" \nc"},
};

static const MustacheCase delimiters[] = {
	{"a pair", "{{=<% %>=}}(<%x%>)", "{\"x\": \"Hey\"}", "(Hey)"},
	{"characters of regular expressions", "({{=[ ]=}}[x])",
	"{\"x\": \"Hey\"}", "(Hey)"},
	{"in sections", "[\n{{#s}}\n  {{d}}\n  |d|\n{{/s}}\n\n{{= | | =}}\n"
		"|#s|\n  {{d}}\n  |d|\n|/s|\n]\n", "{\"s\": true, \"d\": \"I\"}",
	"[\n  I\n  |d|\n\n  {{d}}\n  I\n]\n"},
	{"in inverted sections", "[\n{{^s}}\n  {{d}}\n  |d|\n{{/s}}\n\n"
		"{{= | | =}}\n|^s|\n  {{d}}\n  |d|\n|/s|\n]\n",
	"{\"s\": false, \"d\": \"I\"}", "[\n  I\n  |d|\n\n  {{d}}\n  I\n]\n"},
	{"not in partials", "[ {{>p}} ]\n{{= | | =}}\n[ |>p| ]\n",
	"{\"x\": \"yes\"}", "[ .yes. ]\n[ .yes. ]\n", {"p", ".{{x}}."}},
	{"not of partials", "[ {{>p}} ]\n[ .{{x}}.  .|x|. ]\n",
		"{\"x\": \"yes\"}", "[ .yes.  .yes. ]\n[ .yes.  .|x|. ]\n",
	{"p", ".{{x}}. {{= | | =}} .|x|."}},
	{"with blanks around it", "| {{=@ @=}} |", "{}", "|  |"},
	{"with text before it", " | {{=@ @=}}\n", "{}", " | \n"},
	{"alone", "a\n{{=@ @=}}\nb\n", "{}", "a\nb\n"},
	{"alone, indented", "a\n  {{=@ @=}}\nb\n", "{}", "a\nb\n"},
	{"alone, CRLF", "|\r\n{{= @ @ =}}\r\n|", "{}", "|\r\n|"},
	{"alone in the first line", "  {{=@ @=}}\n=", "{}", "="},
	{"alone in the last line", "=\n  {{=@ @=}}", "{}", "=\n"},
	{"with padding", "|{{= @   @ =}}|", "{}", "||"},
	{"and back", "{{=<% %>=}}<%x%><%={{ }}=%>{{x}}<%x%>", "{\"x\": 1}",
	"11<%x%>"},
	{"verbatim with others", "{{=<% %>=}}<%{x}%><%& x%>",
	"{\"x\": \"&\"}", "&&"},
};

static const MustacheCase interpolation[] = {
	{"none", "from {Mustache}!\n", "{}", "from {Mustache}!\n"},
	{"a string", "Hello, {{x}}!\n", "{\"x\": \"world\"}", "Hello, world!\n"},
	{"not again", "{{x}}: {{y}}", "{\"x\": \"{{y}}\", \"y\": \"Earth\"}",
	"{{y}}: Earth"},
	{"escaped", "{{x}}", "{\"x\": \"& \\\" < >\"}",
	"&amp; &quot; &lt; &gt;"},
	{"verbatim", "{{{x}}}", "{\"x\": \"& \\\" < >\"}", "& \" < >"},
	{"verbatim, the other way", "{{&x}}", "{\"x\": \"& \\\" < >\"}",
	"& \" < >"},
	{"integers", "{{x}} {{{x}}} {{&x}}", "{\"x\": 85}", "85 85 85"},
	{"decimals", "{{x}} {{{x}}} {{&x}}", "{\"x\": 1.21}", "1.21 1.21 1.21"},
	{"booleans", "{{x}} {{y}}", "{\"x\": true, \"y\": false}", "true false"},
	{"null", "({{x}}) ({{{x}}}) ({{&x}})", "{\"x\": null}", "() () ()"},
	{"missing", "({{x}}) ({{{x}}}) ({{&x}})", "{}", "() () ()"},
	{"dotted is as in a section",
		"{{p.n}}{{{p.n}}}{{&p.n}} {{#p}}{{n}}{{{n}}}{{&n}}{{/p}}",
	"{\"p\": {\"n\": \"J\"}}", "JJJ JJJ"},
	{"dotted, deep", "{{a.b.c.d.e}}",
	"{\"a\": {\"b\": {\"c\": {\"d\": {\"e\": \"P\"}}}}}", "P"},
	{"dotted, a broken chain", "({{a.b.c}})", "{\"a\": {}}", "()"},
	{"dotted, each word in the one before", "({{a.b.c.n}})",
	"{\"a\": {\"b\": {}}, \"c\": {\"n\": \"J\"}}", "()"},
	{"dotted, the first word as any", "{{#a}}{{b.c.n}}{{/a}}",
		"{\"a\": {\"b\": {\"c\": {\"n\": \"P\"}}},"
		" \"b\": {\"c\": {\"n\": \"W\"}}}",
	"P"},
	{"dotted, of what was found only", "({{#a}}{{b.c}}{{/a}})",
	"{\"a\": {\"b\": {}}, \"b\": {\"c\": \"W\"}}", "()"},
	{"dotted, never one key", "({{a.b}})", "{\"a.b\": \"W\"}", "()"},
	{"dotted, not hidden by one key", "({{a.b}})",
	"{\"a.b\": \"W\", \"a\": {\"b\": \"d\"}}", "(d)"},
	{"the item", "Hello, {{.}}!", "\"world\"", "Hello, world!"},
	{"the item, escaped", "{{.}}", "\"& \\\" < >\"",
	"&amp; &quot; &lt; &gt;"},
	{"the item, verbatim", "{{{.}}} {{&.}}", "\"& <\"", "& < & <"},
	{"the item, a number", "{{.}} miles", "85", "85 miles"},
	{"with blanks around it", "| {{x}} | {{{x}}} | {{&x}} |",
	"{\"x\": \"-\"}", "| - | - | - |"},
	{"alone", "  {{x}}\n  {{{x}}}\n  {{&x}}\n", "{\"x\": \"-\"}",
	"  -\n  -\n  -\n"},
	{"with padding", "|{{ x }}|{{{ x }}}|{{& x }}|{{\tx\n}}|",
	"{\"x\": \"-\"}", "|-|-|-|-|"},
	{"lists and objects as JSON", "{{x}} {{{y}}}",
	"{\"x\": [\"a\"], \"y\": {\"b\": 1}}", "[&quot;a&quot;] {\"b\": 1}"},
};

static const MustacheCase inverted[] = {
	{"of false", "({{^x}}yes{{/x}})", "{\"x\": false}", "(yes)"},
	{"of true", "({{^x}}no{{/x}})", "{\"x\": true}", "()"},
	{"of null", "({{^x}}yes{{/x}})", "{\"x\": null}", "(yes)"},
	{"of an object", "({{^x}}no {{n}}{{/x}})", "{\"x\": {\"n\": 1}}", "()"},
	{"of an empty object", "({{^x}}no{{/x}})", "{\"x\": {}}", "()"},
	{"of a list", "({{^x}}no{{/x}})", "{\"x\": [{\"n\": 1}, 2]}", "()"},
	{"of an empty list", "({{^x}}yes{{/x}})", "{\"x\": []}", "(yes)"},
	{"two", "{{^b}}\n* 1\n{{/b}}\n* {{t}}\n{{^b}}\n* 3\n{{/b}}\n",
	"{\"b\": false, \"t\": 2}", "* 1\n* 2\n* 3\n"},
	{"nested, shown", "| A {{^b}}B {{^b}}C{{/b}} D{{/b}} E |",
	"{\"b\": false}", "| A B C D E |"},
	{"nested, not shown", "| A {{^b}}B {{^b}}C{{/b}} D{{/b}} E |",
	"{\"b\": true}", "| A  E |"},
	{"of what is missing", "({{^x}}yes{{/x}})", "{}", "(yes)"},
	{"dotted, true", "({{^a.b.c}}no{{/a.b.c}})",
	"{\"a\": {\"b\": {\"c\": true}}}", "()"},
	{"dotted, false", "({{^a.b.c}}yes{{/a.b.c}})",
	"{\"a\": {\"b\": {\"c\": false}}}", "(yes)"},
	{"dotted, a broken chain", "({{^a.b.c}}yes{{/a.b.c}})", "{\"a\": {}}",
	"(yes)"},
	{"with blanks around it", " | {{^b}}\t|\t{{/b}} | \n", "{}",
	" | \t|\t | \n"},
	{"with blanks in it", " | {{^b}} {{! c }}\n {{/b}} | \n", "{}",
	" |  \n  | \n"},
	{"in one line", " {{^b}}NO{{/b}}\n {{^b}}WAY{{/b}}\n", "{}",
	" NO\n WAY\n"},
	{"alone", "| a\n{{^b}}\n|\n{{/b}}\n| c\n", "{}", "| a\n|\n| c\n"},
	{"alone, indented", "| a\n  {{^b}}\n|\n  {{/b}}\n| c\n", "{}",
	"| a\n|\n| c\n"},
	{"alone, CRLF", "|\r\n{{^b}}\r\n{{/b}}\r\n|", "{}", "|\r\n|"},
	{"alone in the first line", "  {{^b}}\n^{{/b}}\n/", "{}", "^\n/"},
	{"alone in the last line", "^{{^b}}\n/\n  {{/b}}", "{}", "^\n/\n"},
	{"with padding", "|{{^ b }}={{/ b }}|", "{}", "|=|"},
	{"of what is false by the way",
		"{{^a}}1{{/a}}{{^b}}2{{/b}}{{^c}}3{{/c}}{{^d}}4{{/d}}",
	"{\"a\": \"\", \"b\": 0, \"c\": \"0\", \"d\": 0.5}", "12"},
};

static const MustacheCase partials[] = {
	{"one", "({{>p}})", "{}", "(from it)", {"p", "from it"}},
	{"in the context of its place", "({{>p}})", "{\"x\": 1}", "(*1*)",
	{"p", "*{{x}}*"}},
	{"in itself", "{{>n}}",
		"{\"c\": \"X\", \"n\": [{\"c\": \"Y\", \"n\": []}]}", "X<Y<>>",
	{"n", "{{c}}<{{#n}}{{>n}}{{/n}}>"}},
	{"in another", "{{>o}}", "{\"a\": 1, \"b\": 2}", "*1 2!*",
	{"o", "*{{a}} {{>i}}*", "i", "{{b}}!"}},
	{"with blanks around it", "| {{>p}} |", "{}", "| \t|\t |",
	{"p", "\t|\t"}},
	{"with text before it", "  {{x}}  {{> p}}\n", "{\"x\": \"|\"}",
	"  |  >\n>\n", {"p", ">\n>"}},
	{"alone, CRLF", "|\r\n{{>p}}\r\n|", "{}", "|\r\n>|", {"p", ">"}},
	{"alone in the first line", "  {{>p}}\n>", "{}", "  >\n  >>",
	{"p", ">\n>"}},
	{"alone in the last line", ">\n  {{>p}}", "{}", ">\n  >\n  >",
	{"p", ">\n>"}},
	{"indented", "\\\n {{>p}}\n/\n", "{\"x\": \"<\\n->\"}",
	"\\\n |\n <\n->\n |\n/\n", {"p", "|\n{{{x}}}\n|\n"}},
	{"with padding", "|{{> p }}|", "{}", "|[]|", {"p", "[]"}},
	{"called like a file", "{{>mail/foot-1.html}}", "{}", "x",
	{"mail/foot-1.html", "x"}},
	{"indented in an indented one", " {{>o}}\n", "{}",
	" a\n  b\n  b\n c\n", {"o", "a\n {{>i}}\nc\n", "i", "b\nb\n"}},
	{"alone at the margin of an indented one", " {{>o}}\n", "{}",
	" a\n b\n b\n", {"o", "a\n{{>i}}\n", "i", "b\nb\n"}},
	{"in a line of an indented one", " {{>o}}", "{}", " -b\nb\n-\n",
	{"o", "-{{>i}}-\n", "i", "b\nb\n"}},
	{"indented, with sections alone", "  {{>p}}\n", "{\"l\": [1, 2]}",
	"  a\n  1\n  2\n  b\n", {"p", "a\n{{#l}}\n{{.}}\n{{/l}}\nb\n"}},
	{"indented, a section begins a line", "  {{>p}}\n", "{\"l\": [1, 2]}",
	"  12\n  b\n", {"p", "{{#l}}{{.}}{{/l}}\nb\n"}},
	{"indented, a comment begins a line", "  {{>p}}\n", "{}", "  a\n  \n  b\n",
	{"p", "{{!}}a\n\nb\n"}},
	{"indented, CRLF", "\t{{>p}}\r\n", "{}", "\ta\r\n\tb\r\n",
	{"p", "a\r\nb\r\n"}},
	{"the same in different places", "{{>p}} {{>p}}\n {{>p}}\n", "{}",
	"a\n a\n\n a\n", {"p", "a\n"}},
};

static const MustacheCase sections[] = {
	{"of true", "({{#x}}yes{{/x}})", "{\"x\": true}", "(yes)"},
	{"of false", "({{#x}}no{{/x}})", "{\"x\": false}", "()"},
	{"of null", "({{#x}}no{{/x}})", "{\"x\": null}", "()"},
	{"of an object", "{{#c}}Hi {{n}}.{{/c}}", "{\"c\": {\"n\": \"J\"}}",
	"Hi J."},
	{"of an empty object", "({{#x}}yes{{/x}})", "{\"x\": {}}", "(yes)"},
	{"contexts around it", "{{#s}}{{a}}, {{b}}, {{c.d}}{{/s}}",
		"{\"a\": \"f\", \"b\": \"w\", \"s\": {\"b\": \"r\"},"
	" \"c\": {\"d\": \"z\"}}", "f, r, z"},
	{"of a string", "{{#f}}{{.}} is {{f}}{{/f}}", "{\"f\": \"bar\"}",
	"bar is bar"},
	{"lists in lists", "{{#t}}{{#m}}{{n.l}}{{k}}.{{#b}}{{n.u}}{{k}}{{o}}.{{/b}}"
		"{{/m}}{{/t}}", "{\"t\": [{\"n\": {\"u\": \"A\", \"l\": \"a\"},"
		" \"m\": [{\"k\": \"1\", \"b\": [{\"o\": \"x\"}, {\"o\": \"y\"}]}]}]}",
	"a1.A1x.A1y."},
	{"deep",
		"{{#a}}\n{{1}}\n{{#b}}\n{{1}}{{2}}{{1}}\n{{#c.d}}\n{{1}}{{2}}{{4}}\n"
		"{{#5}}\n{{1}}{{4}}{{5}}{{.}}6{{.}}{{4}}\n{{/5}}\n{{4}}\n{{/c.d}}\n"
		"{{2}}{{4}}\n{{/b}}\n{{1}}{{2}}\n{{/a}}\n",
		"{\"a\": {\"1\": 1}, \"b\": {\"2\": 2},"
		" \"c\": {\"3\": 3, \"d\": {\"4\": 4, \"5\": 5}}}",
	"1\n121\n124\n1455654\n4\n2\n1\n"},
	{"of a list", "{{#l}}{{i}}{{/l}}",
	"{\"l\": [{\"i\": 1}, {\"i\": 2}, {\"i\": 3}]}", "123"},
	{"of an empty list", "({{#l}}no{{/l}})", "{\"l\": []}", "()"},
	{"two", "{{#b}}\n* 1\n{{/b}}\n* {{t}}\n{{#b}}\n* 3\n{{/b}}\n",
	"{\"b\": true, \"t\": 2}", "* 1\n* 2\n* 3\n"},
	{"nested, shown", "| A {{#b}}B {{#b}}C{{/b}} D{{/b}} E |",
	"{\"b\": true}", "| A B C D E |"},
	{"nested, not shown", "| A {{#b}}B {{#b}}C{{/b}} D{{/b}} E |",
	"{\"b\": false}", "| A  E |"},
	{"of what is missing", "({{#x}}no{{/x}})", "{}", "()"},
	{"items: strings", "{{#l}}({{.}}){{/l}}", "{\"l\": [\"a\", \"b\"]}",
	"(a)(b)"},
	{"items: numbers", "{{#l}}({{.}}){{/l}}", "{\"l\": [1, 2.2, 0]}",
	"(1)(2.2)(0)"},
	{"items: lists", "{{#l}}({{#.}}{{.}}{{/.}}){{/l}}",
	"{\"l\": [[1, 2], [\"a\", \"b\"]]}", "(12)(ab)"},
	{"items: null and false", "{{#l}}({{.}}){{/l}}",
	"{\"l\": [null, false, \"\"]}", "()(false)()"},
	{"items, escaped", "{{#l}}({{.}}){{/l}}", "{\"l\": [\"&\", \"<\"]}",
	"(&amp;)(&lt;)"},
	{"items, verbatim", "{{#l}}({{{.}}})({{&.}}){{/l}}",
	"{\"l\": [\"&\", \"<\"]}", "(&)(&)(<)(<)"},
	{"of all there is", "{{#.}}({{v}}){{/.}}",
	"[{\"v\": \"a\"}, {\"v\": \"b\"}]", "(a)(b)"},
	{"dotted, true", "({{#a.b.c}}yes{{/a.b.c}})",
	"{\"a\": {\"b\": {\"c\": true}}}", "(yes)"},
	{"dotted, false", "({{#a.b.c}}no{{/a.b.c}})",
	"{\"a\": {\"b\": {\"c\": false}}}", "()"},
	{"dotted, a broken chain", "({{#a.b.c}}no{{/a.b.c}})", "{\"a\": {}}",
	"()"},
	{"with blanks around it", " | {{#b}}\t|\t{{/b}} | \n", "{\"b\": true}",
	" | \t|\t | \n"},
	{"with blanks in it", " | {{#b}} {{! c }}\n {{/b}} | \n",
	"{\"b\": true}", " |  \n  | \n"},
	{"in one line", " {{#b}}YES{{/b}}\n {{#b}}GOOD{{/b}}\n",
	"{\"b\": true}", " YES\n GOOD\n"},
	{"alone", "| a\n{{#b}}\n|\n{{/b}}\n| c\n", "{\"b\": true}",
	"| a\n|\n| c\n"},
	{"alone, indented", "| a\n  {{#b}}\n|\n  {{/b}}\n| c\n",
	"{\"b\": true}", "| a\n|\n| c\n"},
	{"alone, CRLF", "|\r\n{{#b}}\r\n{{/b}}\r\n|", "{\"b\": true}",
	"|\r\n|"},
	{"alone in the first line", "  {{#b}}\n#{{/b}}\n/", "{\"b\": true}",
	"#\n/"},
	{"alone in the last line", "#{{#b}}\n/\n  {{/b}}", "{\"b\": true}",
	"#\n/\n"},
	{"with padding", "|{{# b }}={{/ b }}|", "{\"b\": true}", "|=|"},
	{"of what is true and false by the way",
		"{{#a}}1{{/a}}{{#b}}2{{/b}}{{#c}}3{{/c}}{{#d}}4{{/d}}",
	"{\"a\": \"\", \"b\": 0, \"c\": \"0\", \"d\": 0.5}", "34"},
	{"of an item by its number", "{{#l.1}}{{n}}{{/l.1}}{{l.0.n}}{{l.2}}",
	"{\"l\": [{\"n\": 1}, {\"n\": 2}]}", "21"},
};

/* Not of the specification: what was shown once must not be shown wrongly */
static const MustacheCase again[] = {
	{"all kinds", "{{s}}{{n}}{{b}}{{l}}{{o}}|{{s}}{{n}}{{b}}{{l}}{{o}}",
		"{\"s\": \"x\", \"n\": 1.50, \"b\": false, \"l\": [1], \"o\": {}}",
	"x1.50false[1]{}|x1.50false[1]{}"},
	{"escaped and not", "{{s}}{{{s}}}{{&s}}{{s}}{{{s}}}",
	"{\"s\": \"<&>\"}", "&lt;&amp;&gt;<&><&>&lt;&amp;&gt;<&>"},
	{"nothing", "({{x}})({{x}})({{s}})({{s}})", "{\"s\": \"\"}",
	"()()()()"},
	{"the beginning of another", "{{a}}{{ab}}{{a.b}}{{a}}{{ab}}{{a.b}}",
	"{\"a\": {\"b\": 1}, \"ab\": 2}", "{&quot;b&quot;: 1}21{&quot;b&quot;: 1}21"},
	{"shadowed in a section", "{{n}}{{#o}}{{n}}{{n}}{{/o}}{{n}}",
	"{\"n\": 1, \"o\": {\"n\": 2}}", "1221"},
	{"shadowed first", "{{#o}}{{n}}{{/o}}{{n}}{{#o}}{{n}}{{/o}}{{n}}",
	"{\"n\": 1, \"o\": {\"n\": 2}}", "2121"},
	{"shadowed by some items", "{{n}}{{#l}}{{n}}{{/l}}{{n}}",
		"{\"n\": 1, \"l\": [{\"n\": 2}, {}, {\"n\": null}, {\"n\": 3}, 4]}",
	"121311"},
	{"in the inner object only", "{{n}}{{#o}}{{n}}{{/o}}{{n}}",
	"{\"o\": {\"n\": 2}}", "2"},
	{"a dotted name shadowed", "{{a.n}}{{#o}}{{a.n}}{{/o}}{{a.n}}",
	"{\"a\": {\"n\": 1}, \"o\": {\"a\": {}}}", "11"},
	{"two levels out", "{{#o}}{{n}}{{#p}}{{n}}{{#q}}{{n}}{{/q}}{{/p}}{{/o}}{{n}}",
		"{\"n\": 1, \"o\": {\"n\": 2, \"p\": {\"q\": {\"n\": 3}}}}",
	"2231"},
	{"in sections without names",
		"{{n}}{{#s}}{{n}}{{#b}}{{n}}{{/b}}{{/s}}{{^x}}{{n}}{{/x}}{{n}}",
	"{\"n\": 1, \"s\": \"x\", \"b\": true}", "11111"},
	{"through sections without names",
		"{{#o}}{{n}}{{#s}}{{n}}{{#l}}{{n}}{{.}}{{/l}}{{/s}}{{/o}}{{n}}",
		"{\"n\": 1, \"s\": \"x\", \"o\": {\"n\": 2}, \"l\": [8, 9, [7]]}",
	"2228292[7]1"},
	{"the context itself", "{{#l}}{{.}}{{.}}{{/l}}", "{\"l\": [1, 2]}",
	"1122"},
	{"in a partial", "{{n}}{{s}}{{>p}}{{n}}{{>p}}{{s}}",
		"{\"n\": 1, \"s\": \"&\"}", "1&amp;&amp;1&1&amp;1&&amp;",
	{"p", "{{s}}{{n}}{{{s}}}"}},
	{"in a partial of a section", "{{>p}}{{#o}}{{>p}}{{n}}{{/o}}{{>p}}",
		"{\"n\": 1, \"o\": {\"n\": 2}}", "11222" "11",
	{"p", "{{n}}{{n}}"}},
	{"in a partial of itself", "{{>p}}", "{\"n\": 1, \"o\": {\"n\": 2,"
	" \"o\": {\"n\": 3, \"o\": 0}}}", "123321",
	{"p", "{{n}}{{#o}}{{>p}}{{/o}}{{n}}"}},
	{"in lines that a partial indents", "{{s}}\n {{>p}}\n{{s}}",
		"{\"s\": \"a\nb\"}", "a\nb\n a\nb\n a\nb\na\nb",
	{"p", "{{s}}\n{{s}}\n"}},
	{"where the context is no object", "{{n}}{{.}}{{n}}{{.}}", "1", "11"},
};

/* Render it; NULL with the error filled if that fails */
static char *
render(const MustacheCase *c, TemplateError *error)
{
	TemplatePartial list[lengthof(c->partials) / 2] = {0};
	TemplateNode root = tree_parse(c->data);
	Template   *tmpl = template_parse(NULL, c->source, strlen(c->source),
									  error);
	StringInfoData out;
	int			n;

	initStringInfo(&out);
	for (n = 0; n < COUNT(list) && c->partials[2 * n] != NULL; n++)
	{
		list[n].name = c->partials[2 * n];
		list[n].source = c->partials[2 * n + 1];
		list[n].len = strlen(list[n].source);
	}
	template_sort_partials(list, n);
	if (tmpl == NULL || !template_link(NULL, tmpl, list, n, error) ||
		!template_render(NULL, tmpl, &root, TEMPLATE_HTML, false, &out, error))
		return NULL;
	return out.data;
}

static void
test_group(const char *group, const MustacheCase *cases, int count)
{
	int			i;

	for (i = 0; i < count; i++)
	{
		TemplateError error;
		char	   *shown = render(&cases[i], &error);

		if (!ok(shown && strcmp(shown, cases[i].expected) == 0,
				"%s: %s", group, cases[i].title))
			diag("%s -> %s", cases[i].source, shown ? shown : error.message);
	}
}

/* More variables than there are slots, each of them three times */
static void
test_many_names(void)
{
	TemplateNode root = tree_parse("{\"n0\": \"a\", \"n31\": \"b\", \"n32\": \"c\","
								   " \"n99\": \"d\"}");
	TemplateError error;
	Template   *tmpl;
	StringInfoData source;
	StringInfoData out;
	int			i;

	initStringInfo(&source);
	initStringInfo(&out);
	for (i = 0; i < 300; i++)
		appendStringInfo(&source, "{{n%d}}", i % 100);
	tmpl = template_parse(NULL, source.data, source.len, &error);
	ok(tmpl && template_link(NULL, tmpl, NULL, 0, &error) &&
	   template_render(NULL, tmpl, &root, TEMPLATE_PLAIN, false, &out,
					   &error) &&
	   strcmp(out.data, "abcdabcdabcd") == 0, "again: many names");
	ok(!template_render(NULL, tmpl, &root, TEMPLATE_PLAIN, true, &out,
						&error) &&
	   error.column == 7, "again: many names, strict");
	pfree(tmpl);
	pfree(source.data);
	pfree(out.data);
}

/* Every byte: five are escaped, wherever they stand */
static void
test_every_byte(void)
{
	TemplateError error;
	Template   *tmpl = template_parse(NULL, "{{.}}", 5, &error);
	StringInfoData value;
	StringInfoData expected;
	StringInfoData out;
	TemplateNode root = {.kind = TEMPLATE_STRING};
	int			i;

	initStringInfo(&value);
	initStringInfo(&expected);
	initStringInfo(&out);
	for (i = 0; i < 512; i++)
	{
		appendStringInfoChar(&value, (char) (i % 256));
		if (i % 256 == '&')
			appendStringInfoString(&expected, "&amp;");
		else if (i % 256 == '<')
			appendStringInfoString(&expected, "&lt;");
		else if (i % 256 == '>')
			appendStringInfoString(&expected, "&gt;");
		else if (i % 256 == '"')
			appendStringInfoString(&expected, "&quot;");
		else if (i % 256 == '\'')
			appendStringInfoString(&expected, "&#39;");
		else
			appendStringInfoChar(&expected, (char) (i % 256));
	}
	root.data = value.data;
	root.len = value.len;
	ok(tmpl && template_link(NULL, tmpl, NULL, 0, &error) &&
	   template_render(NULL, tmpl, &root, TEMPLATE_HTML, false, &out, &error) &&
	   out.len == expected.len &&
	   memcmp(out.data, expected.data, out.len) == 0, "every byte");
	pfree(tmpl);
	pfree(value.data);
	pfree(expected.data);
	pfree(out.data);
}

void
test_mustache(void)
{
	test_group("comments", comments, COUNT(comments));
	test_group("delimiters", delimiters, COUNT(delimiters));
	test_group("interpolation", interpolation, COUNT(interpolation));
	test_group("inverted sections", inverted, COUNT(inverted));
	test_group("partials", partials, COUNT(partials));
	test_group("sections", sections, COUNT(sections));
	test_group("again", again, COUNT(again));
	test_many_names();
	test_every_byte();
}
