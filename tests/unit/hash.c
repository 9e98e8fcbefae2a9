/* Look-up tables that grow bucket by bucket. */
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

#define KIND SLAB_WAITER
enum { N = 300000 };

struct object {
	struct slab_head slab;
	struct hlink link;
	u32 key;
};

static struct stack *make(struct hash *h)
{
	struct stack *s = engine_new(NULL);

	slab_init(s, KIND, sizeof(struct object), N);
	ck_assert(hash_init(s, h, (u32)offsetof(struct object, link)));
	return s;
}

static u32 key_hash(const struct stack *s, u32 key)
{
	return (u32)siphash(&s->hash_key, &key, sizeof(key));
}

static ref add(struct stack *s, struct hash *h, u32 key, u32 hash)
{
	ref r = slab_alloc(s, KIND);
	struct object *o = slab_get(s, KIND, r);

	o->key = key;
	hash_insert(s, h, hash, r);
	return r;
}

static ref find(struct stack *s, const struct hash *h, u32 key, u32 hash)
{
	ref r = 0;

	while ((r = hash_find(s, h, hash, r))) {
		if (((struct object *)slab_get(s, KIND, r))->key == key)
			return r;
	}
	return 0;
}

START_TEST(hash_finds_all_while_it_grows_and_shrinks)
{
	struct hash h;
	struct stack *s = make(&h);
	static ref refs[N];

	for (u32 i = 0; i < N; i++) {
		refs[i] = add(s, &h, i, key_hash(s, i));
		if (i % 1000 == 0)
			ck_assert_uint_eq(find(s, &h, i / 2, key_hash(s, i / 2)), refs[i / 2]);
	}
	ck_assert_uint_eq(h.entries, N);
	ck_assert_uint_ge(h.buckets, N);
	for (u32 i = 0; i < N; i++)
		ck_assert_uint_eq(find(s, &h, i, key_hash(s, i)), refs[i]);
	for (u32 i = 0; i < N; i += 2)
		hash_remove(s, &h, refs[i]);
	for (u32 i = 0; i < N; i++)
		ck_assert_uint_eq(find(s, &h, i, key_hash(s, i)), i % 2 ? refs[i] : 0);
	ck_assert_uint_eq(h.entries, N / 2);
}
END_TEST

START_TEST(hash_walks_equal_hashes)
{
	struct hash h;
	struct stack *s = make(&h);
	ref refs[100];
	u32 n = 0;

	for (u32 i = 0; i < 100; i++)
		refs[i] = add(s, &h, i, 42);
	for (ref r = 0; (r = hash_find(s, &h, 42, r));)
		n++;
	ck_assert_uint_eq(n, 100);
	for (u32 i = 0; i < 100; i++)
		ck_assert_uint_eq(find(s, &h, i, 42), refs[i]);
}
END_TEST

START_TEST(hash_remove_of_a_stranger_changes_nothing)
{
	struct hash h;
	struct stack *s = make(&h);
	ref in = add(s, &h, 1, 42), out = slab_alloc(s, KIND);

	hash_remove(s, &h, out);
	hash_remove(s, &h, 0);
	ck_assert_uint_eq(h.entries, 1);
	hash_remove(s, &h, in);
	hash_remove(s, &h, in);
	ck_assert_uint_eq(h.entries, 0);
	ck_assert_uint_eq(hash_find(s, &h, 42, 0), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, hash_finds_all_while_it_grows_and_shrinks);
	tcase_add_test(tc, hash_walks_equal_hashes);
	tcase_add_test(tc, hash_remove_of_a_stranger_changes_nothing);
}

int main(void)
{
	return check_lines_case("hash", 0, add_tests);
}
