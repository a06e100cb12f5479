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

/* Not of strings, which the renderer copies itself */
static void
lookup_append(const TemplateNode *node, StringInfo out)
{
	if (node->kind != TEMPLATE_SCALAR)
		(void) JsonbToCString(out, unconstify(void *, node->data), 0);
	else if (node->data != NULL)
		appendStringInfoString(out, lookup_number(node->data));
	else
		appendStringInfoString(out, node->truth ? "true" : "false");
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
