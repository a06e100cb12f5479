/*-------------------------------------------------------------------------
 *
 * pure_tree.c
 *	  Data for templates without a server: a tree, read from JSON.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

typedef struct Tree
{
	TemplateKind kind;
	bool		truth;
	StringInfoData shown;		/* bytes of a string, digits, or JSON */
	int			count;
	struct Tree *items;			/* of a list or object */
	char	  **keys;			/* of an object */
} Tree;

static const TemplateAccess tree_access;

static TemplateNode
tree_node(const Tree *tree)
{
	TemplateNode node = {0};

	node.kind = tree->kind;
	node.truth = tree->truth;
	node.access = &tree_access;
	node.data = tree;
	node.len = tree->count;
	if (tree->kind == TEMPLATE_STRING)
	{
		node.data = tree->shown.data;
		node.len = tree->shown.len;
	}
	return node;
}

static void
tree_item(const TemplateNode *list, int i, TemplateNode *item)
{
	*item = tree_node(&((const Tree *) list->data)->items[i]);
}

static bool
tree_get(const TemplateNode *node, const char *key, size_t len,
		 TemplateNode *member)
{
	const Tree *tree = node->data;
	int			i;

	for (i = 0; i < tree->count; i++)
	{
		char		number[12];
		const char *name = number;

		if (tree->kind == TEMPLATE_OBJECT)
			name = tree->keys[i];
		else
			snprintf(number, sizeof(number), "%d", i);
		if (strncmp(name, key, len) == 0 && name[len] == '\0')
		{
			*member = tree_node(&tree->items[i]);
			return true;
		}
	}
	return false;
}

static bool
tree_append(Work *work, const TemplateNode *node, StringInfo out)
{
	const Tree *tree = node->data;

	appendBinaryStringInfo(out, tree->shown.data, tree->shown.len);
	return work_do(work, 1);
}

static const TemplateAccess tree_access = {
	.get = tree_get,.item = tree_item,.append = tree_append
};

static void
skip_blanks(const char **json)
{
	while (**json != '\0' && strchr(" \t\r\n,:", **json) != NULL)
		(*json)++;
}

/* A string: escapes are \n, \r, \t and whatever stands for itself */
static void
read_string(StringInfo out, const char **json)
{
	static const char escapes[] = "n\nr\rt\t";

	initStringInfo(out);
	for ((*json)++; **json != '"'; (*json)++)
	{
		const char *escape;

		if (**json != '\\')
		{
			appendStringInfoChar(out, **json);
			continue;
		}
		(*json)++;
		escape = strchr(escapes, **json);
		appendStringInfoChar(out, escape ? escape[1] : **json);
	}
	(*json)++;
}

static void read_value(Tree *tree, const char **json);

static void
read_container(Tree *tree, const char **json)
{
	const char *start = *json;
	bool		object = *start == '{';
	int			room = 64;

	tree->kind = object ? TEMPLATE_OBJECT : TEMPLATE_LIST;
	tree->items = palloc(room * sizeof(Tree));
	tree->keys = palloc(room * sizeof(char *));
	for ((*json)++;; tree->count++)
	{
		StringInfoData key;

		skip_blanks(json);
		if (**json == '}' || **json == ']')
			break;
		if (tree->count == room)
		{
			room *= 2;
			tree->items = repalloc(tree->items, room * sizeof(Tree));
			tree->keys = repalloc(tree->keys, room * sizeof(char *));
		}
		if (object)
		{
			read_string(&key, json);
			tree->keys[tree->count] = key.data;
		}
		read_value(&tree->items[tree->count], json);
	}
	(*json)++;
	tree->truth = object || tree->count > 0;
	initStringInfo(&tree->shown);
	appendBinaryStringInfo(&tree->shown, start, (int) (*json - start));
}

static void
read_value(Tree *tree, const char **json)
{
	size_t		len;

	memset(tree, 0, sizeof(*tree));
	skip_blanks(json);
	if (**json == '{' || **json == '[')
		read_container(tree, json);
	else if (**json == '"')
	{
		tree->kind = TEMPLATE_STRING;
		read_string(&tree->shown, json);
		tree->truth = tree->shown.len > 0;
	}
	else
	{
		len = strcspn(*json, ",]} ");
		initStringInfo(&tree->shown);
		appendBinaryStringInfo(&tree->shown, *json, (int) len);
		if (strcmp(tree->shown.data, "null") != 0)
			tree->kind = TEMPLATE_SCALAR;
		tree->truth = tree->kind == TEMPLATE_SCALAR &&
			strcmp(tree->shown.data, "false") != 0 &&
			strcmp(tree->shown.data, "0") != 0;
		*json += len;
	}
}

TemplateNode
tree_parse(const char *json)
{
	Tree	   *tree = palloc(sizeof(Tree));

	read_value(tree, &json);
	return tree_node(tree);
}

TemplateNode
tree_strings(const StringInfoData *strings, int count)
{
	Tree	   *tree = palloc0(sizeof(Tree));
	int			i;

	tree->kind = TEMPLATE_LIST;
	tree->count = count;
	tree->items = palloc0(count * sizeof(Tree));
	for (i = 0; i < count; i++)
	{
		tree->items[i].kind = TEMPLATE_STRING;
		tree->items[i].shown = strings[i];
	}
	return tree_node(tree);
}
