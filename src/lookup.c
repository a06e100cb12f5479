/*-------------------------------------------------------------------------
 *
 * lookup.c
 *	  jsonb as templates see it.
 *
 * Nodes point into the jsonb, which is neither copied nor taken apart: a
 * name costs a binary search among the keys of its object.  No SQL, and no
 * transaction is needed; what is allocated goes with the memory context of
 * the recipient.
 *
 * Numbers are shown as jsonb prints them, objects and lists as JSON.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

static const TemplateAccess lookup_access;

/* A number is true if it is not 0 */
static bool
lookup_is_nonzero(Numeric numeric)
{
	static Numeric zero = NULL;

	if (zero == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		zero = int64_to_numeric(0);
		MemoryContextSwitchTo(old);
	}
	return DatumGetBool(DirectFunctionCall2(numeric_ne,
											NumericGetDatum(numeric),
											NumericGetDatum(zero)));
}

/* Nothing but digits and a point: no exponent or NaN comes out of jsonb */
static char *
lookup_number(const void *numeric)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out,
											   PointerGetDatum(numeric)));
}

static void
lookup_container(JsonbContainer *container, TemplateNode *node)
{
	bool		list = JsonContainerIsArray(container);

	node->kind = list ? TEMPLATE_LIST : TEMPLATE_OBJECT;
	node->len = (int) JsonContainerSize(container);
	node->truth = !list || node->len > 0;
	node->data = container;
	node->access = &lookup_access;
}

/* A value that lies in a jsonb */
static void
lookup_fill(const JsonbValue *value, TemplateNode *node)
{
	memset(node, 0, sizeof(*node));
	node->access = &lookup_access;
	switch (value->type)
	{
		case jbvString:
			node->kind = TEMPLATE_STRING;
			node->data = value->val.string.val;
			node->len = value->val.string.len;
			node->truth = node->len > 0;
			break;
		case jbvNumeric:
			node->kind = TEMPLATE_SCALAR;
			node->data = value->val.numeric;
			node->truth = lookup_is_nonzero(value->val.numeric);
			break;
		case jbvBool:
			node->kind = TEMPLATE_SCALAR;
			node->truth = value->val.boolean;
			break;
		case jbvBinary:
			lookup_container(value->val.binary.data, node);
			break;
		default:
			break;
	}
}

/* The index that a key of a list is, or -1 */
static int
lookup_index(const char *key, size_t len)
{
	int			index = 0;
	size_t		i;

	if (len == 0 || len > 9)
		return -1;
	for (i = 0; i < len; i++)
	{
		if (key[i] < '0' || key[i] > '9')
			return -1;
		index = index * 10 + (key[i] - '0');
	}
	return index;
}

static void
lookup_item(const TemplateNode *list, int i, TemplateNode *item)
{
	JsonbValue *value =
		getIthJsonbValueFromContainer(unconstify(void *, list->data), i);

	lookup_fill(value, item);
	pfree(value);
}

static bool
lookup_get(const TemplateNode *node, const char *key, size_t len,
		   TemplateNode *member)
{
	JsonbValue	value;
	int			index;

	if (node->kind == TEMPLATE_OBJECT)
	{
		if (getKeyJsonValueFromContainer(unconstify(void *, node->data), key,
										 (int) len, &value) == NULL)
			return false;
		lookup_fill(&value, member);
		return true;
	}
	index = lookup_index(key, len);
	if (index < 0 || index >= node->len)
		return false;
	lookup_item(node, index, member);
	return true;
}

/* Is it still less than there is room for? */
static bool
lookup_room(Work *work, StringInfo out)
{
	if ((size_t) out->len <= work->room)
		return true;
	work->full = true;
	return false;
}

/* A string as jsonb prints it; false if that is too much */
static bool
lookup_append_string(Work *work, const char *s, int len, StringInfo out)
{
	static const char *const escapes[256] = {
		['\b'] = "\\b",['\f'] = "\\f",['\n'] = "\\n",['\r'] = "\\r",
		['\t'] = "\\t",['"'] = "\\\"",['\\'] = "\\\\"
	};
	int			i;

	appendStringInfoCharMacro(out, '"');
	for (i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) s[i];

		if (escapes[c] != NULL)
			appendStringInfoString(out, escapes[c]);
		else if (c < ' ')
			appendStringInfo(out, "\\u%04x", c);
		else
			appendStringInfoCharMacro(out, (char) c);
		if (i % WORK_SLICE == WORK_SLICE - 1 &&
			!(lookup_room(work, out) && work_bytes(work, WORK_SLICE)))
			return false;
	}
	appendStringInfoCharMacro(out, '"');
	return lookup_room(work, out) && work_bytes(work, len % WORK_SLICE);
}

static void
lookup_append_number(const void *numeric, StringInfo out)
{
	char	   *digits = lookup_number(numeric);

	appendStringInfoString(out, digits);
	pfree(digits);
}

/* A value within an object or a list */
static bool
lookup_append_value(Work *work, const JsonbValue *value, StringInfo out)
{
	switch (value->type)
	{
		case jbvNull:
			appendStringInfoString(out, "null");
			return true;
		case jbvBool:
			appendStringInfoString(out, value->val.boolean ? "true" : "false");
			return true;
		case jbvNumeric:
			lookup_append_number(value->val.numeric, out);
			return lookup_room(work, out);
		default:
			return lookup_append_string(work, value->val.string.val,
										value->val.string.len, out);
	}
}

/*
 * An object or a list as jsonb prints it.  Not by its own function, which
 * knows of no limit and hears nothing.
 */
static bool
lookup_append_container(Work *work, const void *container, StringInfo out)
{
	JsonbIterator *iterator =
		JsonbIteratorInit(unconstify(void *, container));
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		first = true;
	bool		good = true;

	while (good && work_do(work, 2) &&
		   (token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		bool		ends = token == WJB_END_ARRAY || token == WJB_END_OBJECT;

		if (!first && !ends)
			appendStringInfoString(out, ", ");
		first = token == WJB_KEY || token == WJB_BEGIN_ARRAY ||
			token == WJB_BEGIN_OBJECT;
		if (token == WJB_BEGIN_ARRAY || token == WJB_BEGIN_OBJECT)
			appendStringInfoChar(out, token == WJB_BEGIN_ARRAY ? '[' : '{');
		else if (ends)
			appendStringInfoChar(out, token == WJB_END_ARRAY ? ']' : '}');
		else
			good = lookup_append_value(work, &value, out);
		if (token == WJB_KEY)
			appendStringInfoString(out, ": ");
	}
	return good && !work->spent && lookup_room(work, out);
}

/* Not of strings, which the renderer copies itself */
static bool
lookup_append(Work *work, const TemplateNode *node, StringInfo out)
{
	if (node->kind != TEMPLATE_SCALAR)
		return lookup_append_container(work, node->data, out);
	if (node->data != NULL)
		lookup_append_number(node->data, out);
	else
		appendStringInfoString(out, node->truth ? "true" : "false");
	return true;
}

static const TemplateAccess lookup_access = {
	.get = lookup_get,.item = lookup_item,.append = lookup_append
};

TemplateNode
lookup_node(Jsonb *jsonb)
{
	TemplateNode node = {0};

	if (jsonb == NULL)
		return node;
	if (JB_ROOT_IS_SCALAR(jsonb))
	{
		/* lies in a list of its own */
		lookup_container(&jsonb->root, &node);
		lookup_item(&node, 0, &node);
	}
	else
		lookup_container(&jsonb->root, &node);
	return node;
}
