/* SipHash against the published vectors (key 00..0f, message 00, 01, .. of each length below 64),
 * the block hash chain against values made by another program, and the fingerprints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "wire/chain.h"
#include "wire/fingerprint.h"
#include "wire/siphash.h"

static const char *const vectors_64[64] = {
    "310e0edd47db6f72", "fd67dc93c539f874", "5a4fa9d909806c0d", "2d7efbd796666785",
    "b7877127e09427cf", "8da699cd64557618", "cee3fe586e46c9cb", "37d1018bf50002ab",
    "6224939a79f5f593", "b0e4a90bdf82009e", "f3b9dd94c5bb5d7a", "a7ad6b22462fb3f4",
    "fbe50e86bc8f1e75", "903d84c02756ea14", "eef27a8e90ca23f7", "e545be4961ca29a1",
    "db9bc2577fcc2a3f", "9447be2cf5e99a69", "9cd38d96f0b3c14b", "bd6179a71dc96dbb",
    "98eea21af25cd6be", "c7673b2eb0cbf2d0", "883ea3e395675393", "c8ce5ccd8c030ca8",
    "94af49f6c650adb8", "eab8858ade92e1bc", "f315bb5bb835d817", "adcf6b0763612e2f",
    "a5c91da7acaa4dde", "716595876650a2a6", "28ef495c53a387ad", "42c341d8fa92d832",
    "ce7cf2722f512771", "e37859f94623f3a7", "381205bb1ab0e012", "ae97a10fd434e015",
    "b4a31508beff4d31", "81396229f0907902", "4d0cf49ee5d4dcca", "5c73336a76d8bf9a",
    "d0a704536ba93e0e", "925958fcd6420cad", "a915c29bc8067318", "952b79f3bc0aa6d4",
    "f21df2e41d4535f9", "87577519048f53a9", "10a56cf5dfcd9adb", "eb75095ccd986cd0",
    "51a9cb9ecba312e6", "96afadfc2ce666c7", "72fe52975a4364ee", "5a1645b276d592a1",
    "b274cb8ebf87870a", "6f9bb4203de7b381", "eaecb2a30b22a87f", "9924a43cc1315724",
    "bd838d3aafbf8db7", "0b1a2a3265d51aea", "135079a3231ce660", "932b2846e4d70666",
    "e1915f5cb1eca46c", "f325965ca16d629f", "575ff28e60381be5", "724506eb4c328a95",
};

static const char *const vectors_128[64] = {
    "a3817f04ba25a8e66df67214c7550293", "da87c1d86b99af44347659119b22fc45",
    "8177228da4a45dc7fca38bdef60affe4", "9c70b60c5267a94e5f33b6b02985ed51",
    "f88164c12d9c8faf7d0f6e7c7bcd5579", "1368875980776f8854527a07690e9627",
    "14eeca338b208613485ea0308fd7a15e", "a1f1ebbed8dbc153c0b84aa61ff08239",
    "3b62a9ba6258f5610f83e264f31497b4", "264499060ad9baabc47f8b02bb6d71ed",
    "00110dc378146956c95447d3f3d0fbba", "0151c568386b6677a2b4dc6f81e5dc18",
    "d626b266905ef35882634df68532c125", "9869e247e9c08b10d029934fc4b952f7",
    "31fcefac66d7de9c7ec7485fe4494902", "5493e99933b0a8117e08ec0f97cfc3d9",
    "6ee2a4ca67b054bbfd3315bf85230577", "473d06e8738db89854c066c47ae47740",
    "a426e5e423bf4885294da481feaef723", "78017731cf65fab074d5208952512eb1",
    "9e25fc833f2290733e9344a5e83839eb", "568e495abe525a218a2214cd3e071d12",
    "4a29b54552d16b9a469c10528eff0aae", "c9d184ddd5a9f5e0cf8ce29a9abf691c",
    "2db479ae78bd50d8882a8a178a6132ad", "8ece5f042d5e447b5051b9eacb8d8f6f",
    "9c0b53b4b3c307e87eaee08678141f66", "abf248af69a6eae4bfd3eb2f129eeb94",
    "0664da1668574b88b935f3027358aef4", "aa4b9dc4bf337de90cd4fd3c467c6ab7",
    "ea5c7f471faf6bde2b1ad7d4686d2287", "2939b0183223fafc1723de4f52c43d35",
    "7c3956ca5eeafc3e363e9d556546eb68", "77c6077146f01c32b6b69d5f4ea9ffcf",
    "37a6986cb8847edf0925f0f1309b54de", "a705f0e69da9a8f907241a2e923c8cc8",
    "3dc47d1f29c448461e9e76ed904f6711", "0d62bf01e6fc0e1a0d3c4751c5d3692b",
    "8c03468bca7c669ee4fd5e084bbee7b5", "528a5bb93baf2c9c4473cce5d0d22bd9",
    "df6a301e95c95dad97ae0cc8c6913bd8", "801189902c857f39e73591285e70b6db",
    "e617346ac9c231bb3650ae34ccca0c5b", "27d93437efb721aa401821dcec5adf89",
    "89237d9ded9c5e78d8b1c9b166cc7342", "4a6d8091bf5e7d651189fa94a250b14c",
    "0e33f96055e7ae893ffc0e3dcf492902", "e61c432b720b19d18ec8d84bdc63151b",
    "f7e5aef549f782cf379055a608269b16", "438d030fd0b7a54fa837f2ad201a6403",
    "a590d3ee4fbf04e3247e0d27f286423f", "5fe2c1a172fe93c4b15cd37caef9f538",
    "2c97325cbd06b36eb2133dd08b3a017c", "92c814227a6bca949ff0659f002ad39e",
    "dce850110bd8328cfbd50841d6911d87", "67f14984c7da791248e32bb5922583da",
    "1938f2cf72d54ee97e94166fa91d2a36", "74481e9646ed49fe0f6224301604698e",
    "57fca5de98a9d6d8006438d0583d8a1d", "9fecde1cefdc1cbed4763674d9575359",
    "e3040c00eb28f15366ca73cbd872e740", "7697009a6a831dfecca91c5993670f7a",
    "5853542321f567a005d547a4f04759bd", "5150d1772f50834a503e069a973fbd7c",
};

static struct siphash_key test_key(void)
{
    struct siphash_key key;
    for (uint8_t i = 0; i < SIPHASH_KEY_BYTES; i++) {
        key.byte[i] = i;
    }
    return key;
}

static void to_hex(const uint8_t *bytes, size_t n, char *text)
{
    for (size_t i = 0; i < n; i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
}

static void published_vectors(void **state)
{
    (void)state;
    const struct siphash_key key = test_key();
    uint8_t message[64], hash[16];
    char text[33];
    for (size_t len = 0; len < 64; len++) {
        message[len] = (uint8_t)len;
        uint64_t word = siphash_64(&key, message, len);
        for (size_t i = 0; i < 8; i++) {
            hash[i] = (uint8_t)(word >> (8 * i));
        }
        to_hex(hash, 8, text);
        assert_string_equal(text, vectors_64[len]);
        siphash_128(&key, message, len, hash);
        to_hex(hash, 16, text);
        assert_string_equal(text, vectors_128[len]);
    }
}

/* ---- chain ---------------------------------------------------------------------------------- */

static void fill(uint32_t tokens[KVGEOM_BLOCK_TOKENS])
{
    for (uint32_t i = 0; i < KVGEOM_BLOCK_TOKENS; i++) {
        tokens[i] = i * 2654435761u;
    }
}

static void must_be(const struct chain_hash *hash, const char *expected)
{
    char text[33];
    to_hex(hash->byte, 16, text);
    assert_string_equal(text, expected);
}

static void chains_are_pinned(void **state)
{
    (void)state;
    const struct siphash_key key = test_key();
    const struct chain_root root = {"m", "1-cpu-tp1-strict-bf16", "bf16", "", "salt"};
    uint32_t tokens[3 * KVGEOM_BLOCK_TOKENS];
    struct chain_hash start, links[3];
    fill(tokens);
    fill(tokens + KVGEOM_BLOCK_TOKENS);
    fill(tokens + 2 * KVGEOM_BLOCK_TOKENS);
    memset(links, 0, sizeof(links));
    chain_start(&key, &root, &start);
    must_be(&start, "3e13cd8a2e78a26610dbf0f0517dc3ec");
    chain_all(&key, &start, tokens, 3 * KVGEOM_BLOCK_TOKENS - 1, links);
    must_be(&links[0], "61eda13ae03de01af66ad3e0cf4f9c34");
    /* The same tokens behind another parent are another block. */
    must_be(&links[1], "ba3d555a0526e1c727fab36c2696c8ff");
    /* A block that is not full has no name. */
    must_be(&links[2], "00000000000000000000000000000000");
    chain_next(&key, &links[0], tokens, &links[2]);
    assert_memory_equal(&links[2], &links[1], sizeof(links[1]));
}

static void roots_are_apart(void **state)
{
    (void)state;
    static const struct chain_root roots[] = {
        {"ab", "c", "d", "e", "f"}, {"a", "bc", "d", "e", "f"}, {"ab", "c", "d", "ef", ""},
        {"ab", "c", "d", "", "ef"}, {"ab", "c", "de", "", "f"}, {"", "", "", "", ""},
        {"ab", "c", "d", "e", "g"}, {"ab", "c", "d", "g", "f"}, {"ab", "c", "g", "e", "f"},
        {"ab", "g", "d", "e", "f"}, {"g", "c", "d", "e", "f"},
    };
    const size_t n = sizeof(roots) / sizeof(roots[0]);
    struct siphash_key key = test_key();
    struct chain_hash hashes[sizeof(roots) / sizeof(roots[0])], other;
    for (size_t i = 0; i < n; i++) {
        chain_start(&key, &roots[i], &hashes[i]);
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(&hashes[i], &hashes[j], sizeof(hashes[i]));
        }
    }
    key.byte[15] ^= 1;
    chain_start(&key, &roots[0], &other);
    assert_memory_not_equal(&other, &hashes[0], sizeof(other));
}

static void every_token_counts(void **state)
{
    (void)state;
    const struct siphash_key key = test_key();
    const struct chain_hash parent = {{7}};
    uint32_t tokens[KVGEOM_BLOCK_TOKENS];
    struct chain_hash good, bad;
    fill(tokens);
    chain_next(&key, &parent, tokens, &good);
    for (uint32_t i = 0; i < KVGEOM_BLOCK_TOKENS; i++) {
        tokens[i] ^= 0x01000000;
        chain_next(&key, &parent, tokens, &bad);
        assert_memory_not_equal(&good, &bad, sizeof(good));
        tokens[i] ^= 0x01000000;
    }
}

/* ---- fingerprints --------------------------------------------------------------------------- */

static struct fingerprint example(void)
{
    return (struct fingerprint){.config_hash = 1,
                                .weights_hash = UINT64_C(0xfedcba9876543210),
                                .kv_dtype = "bf16",
                                .geom = {16, 8, 64, 2, 4},
                                .numerics = "1-cpu-tp1-strict-bf16",
                                .protocol = 1};
}

static void fingerprints_print(void **state)
{
    (void)state;
    char text[FINGERPRINT_TEXT_MAX];
    struct numerics_identity id = {1, "sm_90a", 8, "strict", "bf16"};
    assert_int_equal(numerics_print(&id, text), STATUS_OK);
    assert_string_equal(text, "1-sm_90a-tp8-strict-bf16");
    id.mode = "strict fast";
    assert_int_equal(numerics_print(&id, text), STATUS_INVALID);
    id.mode = "";
    assert_int_equal(numerics_print(&id, text), STATUS_INVALID);
    struct fingerprint print = example();
    assert_int_equal(fingerprint_print(&print, text), STATUS_OK);
    assert_string_equal(text, "c=0000000000000001 w=fedcba9876543210 k=bf16 g=L16.H8.D64.E2.G4.B64 "
                              "n=1-cpu-tp1-strict-bf16 p=1");
    /* The largest that is real still fits the message. */
    print.geom = (struct kvgeom){128, 128, 1024, 4, 128};
    print.numerics = "99-sm_90a-tp128-strict-bf16";
    assert_int_equal(fingerprint_print(&print, text), STATUS_OK);
    assert_true(strlen(text) <= WIRE_NAME_MAX);
    print.kv_dtype = "b f";
    assert_int_equal(fingerprint_print(&print, text), STATUS_INVALID);
    char huge[200];
    memset(huge, 'x', sizeof(huge));
    huge[199] = '\0';
    print.kv_dtype = huge;
    strcpy(text, "kept");
    assert_int_equal(fingerprint_print(&print, text), STATUS_TOO_BIG);
    assert_string_equal(text, "kept");
}

static void differences_are_named(void **state)
{
    (void)state;
    struct fingerprint others[6];
    static const char *const names[] = {"model config", "weights",           "KV dtype",
                                        "KV layout",    "numerics identity", "protocol version"};
    static const char *const founds[] = {
        "found 0000000000000002.",     "found 0000000000000003.",    "found f32.",
        "found L16.H8.D64.E2.G8.B64.", "found 1-cpu-tp1-fast-bf16.", "found 2."};
    for (size_t i = 0; i < 6; i++) {
        others[i] = example();
    }
    others[0].config_hash = 2;
    others[1].weights_hash = 3;
    others[2].kv_dtype = "f32";
    others[3].geom.group_layers = 8;
    others[4].numerics = "1-cpu-tp1-fast-bf16";
    others[5].protocol = 2;
    struct fingerprint print = example();
    char ours[FINGERPRINT_TEXT_MAX], theirs[FINGERPRINT_TEXT_MAX], why[FINGERPRINT_WHY_MAX];
    assert_int_equal(fingerprint_print(&print, ours), STATUS_OK);
    assert_true(fingerprint_compare(wire_span_of(ours), wire_span_of(ours), why));
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(fingerprint_print(&others[i], theirs), STATUS_OK);
        assert_false(fingerprint_compare(wire_span_of(ours), wire_span_of(theirs), why));
        if (!strstr(why, names[i]) || !strstr(why, "expected ") || !strstr(why, founds[i])) {
            fail_msg("%s: %s", names[i], why);
        }
    }
}

/* A peer may send any bytes as its fingerprint. */
static void strange_fingerprints_are_safe(void **state)
{
    (void)state;
    static const char *const strange[] = {"",       " ",          "=",   "c=",          "c=1 w",
                                          "c==== ", "w=\x01\x02", "c=1", "p=1 p=2 p=3", "       "};
    struct fingerprint print = example();
    char ours[FINGERPRINT_TEXT_MAX], why[FINGERPRINT_WHY_MAX], huge[2000];
    assert_int_equal(fingerprint_print(&print, ours), STATUS_OK);
    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        why[0] = '\0';
        assert_false(fingerprint_compare(wire_span_of(ours), wire_span_of(strange[i]), why));
        assert_true(strlen(why) > 20);
        assert_null(strchr(why, '\x01'));
        assert_false(fingerprint_compare(wire_span_of(strange[i]), wire_span_of(ours), why));
    }
    memset(huge, 'c', sizeof(huge));
    huge[1] = '=';
    assert_false(
        fingerprint_compare(wire_span_of(ours), (struct wire_span){huge, sizeof(huge)}, why));
    assert_true(strlen(why) < FINGERPRINT_WHY_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(chains_are_pinned),
        cmocka_unit_test(roots_are_apart),
        cmocka_unit_test(every_token_counts),
        cmocka_unit_test(fingerprints_print),
        cmocka_unit_test(differences_are_named),
        cmocka_unit_test(strange_fingerprints_are_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
