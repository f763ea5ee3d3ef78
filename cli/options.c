/* The table of options. A new option is one line here, its reader, and nothing else: the reference
 * page is made from this (`baton check-config --reference`), and a test compares the committed one.
 */
#include "cli/options.h"

#define N_ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

static const struct cfg_option fleet_options[] = {
    {"model", CFG_STRING, "oracle", 1, 4000, NULL, NULL,
     "What is served: the folder of a checkpoint in Hugging Face's format, `demo` or `oracle`. A "
     "folder named in this file is relative to this file. `demo` is the small model that comes "
     "with the program: the folder demo beside it, else ../share/baton/demo. `oracle` is the "
     "stand-in without weights: its next token is a hash over all KV bytes, so that any wrong "
     "byte shows. Its tokens are the bytes of the text.",
     false},
    {"model_name", CFG_STRING, "", 0, 128, NULL, NULL,
     "What clients call the model. Empty: the last part of its path.", false},

    {"oracle.layers", CFG_INT, "4", 1, 256, NULL, "layers",
     "The oracle's layers. Like every oracle option, the same on all nodes of a fleet.", false},
    {"oracle.kv_heads", CFG_INT, "2", 1, 256, NULL, "heads", "The oracle's KV heads.", false},
    {"oracle.head_dim", CFG_INT, "64", 8, 1024, NULL, "elements",
     "Elements of one head's key or value.", false},
    {"oracle.elem_bytes", CFG_INT, "2", 1, 4, NULL, "bytes", "Bytes of one element: 1, 2 or 4.",
     false},
    {"oracle.seed", CFG_INT, "1", 0, INT64_MAX, NULL, NULL,
     "Stands for the weights: another seed is another model, and such nodes refuse each other.",
     false},
    {"oracle.token_us", CFG_INT, "20", 0, 1000000, NULL, "us",
     "Pretended compute time per prompt token.", false},
    {"oracle.row_us", CFG_INT, "50", 0, 1000000, NULL, "us",
     "Pretended compute time per sequence of a step.", false},
    {"oracle.step_us", CFG_INT, "2000", 0, 10000000, NULL, "us", "Pretended compute time per step.",
     false},
    {"oracle.poison_tails", CFG_BOOL, "true", 0, 0, NULL, NULL,
     "Fill the unused rows of blocks with garbage instead of zeros, to prove that nothing reads "
     "them.",
     false},

    {"kv.memory", CFG_SIZE, "1GiB", 65536, INT64_C(1) << 50, NULL, "bytes",
     "The KV pool of each node. It must hold at least one longest sequence (engine.len_max); the "
     "default grows to hold one, and shrinks to what engine.seqs_max longest ones need.",
     false},
    {"kv.blocks", CFG_INT, "0", 0, 4194304, NULL, "blocks of 64 tokens",
     "The same pool in blocks, instead of kv.memory; 0: as many as that gives.", false},
    {"kv.fetch_bytes", CFG_SIZE, "64MiB", 65536, INT64_C(1) << 40, NULL, "bytes",
     "How much a decode node fetches at once, over all prefill nodes.", false},
    {"kv.transfers_max", CFG_INT, "256", 1, 65536, NULL, "hand-overs",
     "Hand-overs of a node at once.", false},
    {"kv.peers_max", CFG_INT, "64", 1, 1024, NULL, "nodes",
     "Peers of a node at once. Each costs up to 3.3 MB and 10 file descriptors.", false},
    {"kv.devices", CFG_LIST, "lo", 1, 32, NULL, NULL,
     "The network devices that KV may travel over, such as eth0 or mlx5_0:1. UCX binds these and "
     "no other. Nodes that share memory use it in any case.",
     false},
    {"kv.network", CFG_ENUM, "loopback", 0, 0, "loopback|private", NULL,
     "`private` says that nobody untrusted reaches kv.devices: UCX authenticates nobody, and who "
     "reaches its port can write into the process. Needed for any device beyond loopback.",
     false},
    {"kv.transports", CFG_LIST, "tcp", 1, 16, NULL, NULL,
     "UCX transports between machines: tcp, or rc and ud where there is RDMA.", false},
    {"kv.shared_memory", CFG_BOOL, "true", 0, 0, NULL, NULL,
     "Move KV through shared memory between nodes that share it. false: over kv.devices like "
     "between machines, to try that on one.",
     false},
    {"kv.local_transports", CFG_LIST, "posix,cma", 1, 16, NULL, NULL,
     "UCX transports between nodes that share memory.", false},

    {"engine.seqs_max", CFG_INT, "256", 1, 65536, NULL, "sequences",
     "Sequences of a node at once, in all states.", false},
    {"engine.batch_max", CFG_INT, "64", 1, 4096, NULL, "sequences", "Sequences of one step.",
     false},
    {"engine.chunk_max", CFG_INT, "512", 64, 65536, NULL, "tokens",
     "Prompt tokens of one step, a multiple of 64. Less is taken where a step would last longer "
     "than engine.chunk.",
     false},
    {"engine.chunk", CFG_DURATION, "500ms", 1, 60000, NULL, "ms",
     "How long a step over a prompt should last at most.", false},
    {"engine.len_max", CFG_INT, "16384", 64, 1048576, NULL, "tokens",
     "Longest sequence: prompt and answer. The default is lowered to what the model was made for; "
     "more than that is refused.",
     false},
    {"engine.dtype", CFG_ENUM, "bfloat16", 0, 0, "bfloat16|float32", NULL,
     "Type of weights, activations and KV, whatever the checkpoint is stored in.", false},
    {"engine.threads", CFG_STRING, "auto", 1, 16, NULL, NULL,
     "Threads that compute, of each node: 1 to 256, or `auto`. With `auto` the prefill and decode "
     "nodes of one `baton up` share this machine's cores, at least one thread each; a node that "
     "was started alone takes all. Tokens do not depend on it.",
     false},
    {"engine.table", CFG_ENUM, "auto", 0, 0, "auto|scalar|avx2|avx512|avx512bf16|neon", NULL,
     "The instructions to compute with. `auto` is the best that the machine has. Tokens do not "
     "depend on it.",
     false},

    {"router.nodes_max", CFG_INT, "256", 1, 4096, NULL, "nodes", "Nodes that may join.", false},
    {"router.clients_max", CFG_INT, "4096", 1, 65536, NULL, "connections",
     "Client connections; over it the longest quiet makes room.", false},
    {"router.requests_max", CFG_INT, "1024", 1, 1048576, NULL, "requests",
     "Requests at once, waiting ones and streams whose client may come back included.", false},
    {"router.queue_max", CFG_INT, "512", 1, 1048576, NULL, "requests",
     "Of these waiting for a node; more are refused with a hint when to try again.", false},
    {"router.queue", CFG_DURATION, "60s", 1, 86400000, NULL, "ms",
     "Longest wait in the queue before a request is refused.", false},
    {"router.prefill_depth", CFG_INT, "2", 1, 64, NULL, "prompts",
     "Prompts at a prefill node at once: one that is computed, one that is ready to start.", false},
    {"router.attempts_max", CFG_INT, "8", 1, 1000, NULL, "attempts",
     "Failures of one request (nodes lost under it) before it is given up.", false},
    {"router.deadline", CFG_DURATION, "600s", 1, 86400000, NULL, "ms",
     "Time limit of a request that asks for none, and the longest that it may ask for.", false},
    {"router.resume", CFG_DURATION, "30s", 0, 3600000, NULL, "ms",
     "How long a stream waits for a client whose connection broke.", false},
    {"router.stats", CFG_DURATION, "10s", 0, 3600000, NULL, "ms",
     "How often the router logs its counts, when they have changed; 0: never.", false},

    {"drain", CFG_DURATION, "30s", 0, 3600000, NULL, "ms",
     "How long a node that is asked to stop (SIGTERM) may finish what it has.", false},

    {"supervisor.restart", CFG_DURATION, "100ms", 1, 60000, NULL, "ms",
     "Pause before `baton up` starts a node that died again; doubled at each death.", false},
    {"supervisor.restart_max", CFG_DURATION, "10s", 1, 3600000, NULL, "ms", "Longest such pause.",
     false},
    {"supervisor.healthy", CFG_DURATION, "60s", 1, 3600000, NULL, "ms",
     "A node that lived this long starts again with the shortest pause.", false},

    {"security.keys", CFG_STRING, "", 0, 4000, NULL, NULL,
     "Folder of the keys that `baton keygen` made, relative to this file. With keys every ZeroMQ "
     "socket uses CURVE, and only who is on the folder's allow-list may connect. Empty: no keys, "
     "loopback only.",
     false},
    {"security.insecure", CFG_BOOL, "false", 0, 0, NULL, NULL,
     "Listen beyond loopback without keys: anybody who reaches the port may use and break the "
     "fleet. --insecure on the command line is the same.",
     false},

    {"http.keys", CFG_STRING, "", 0, 4000, NULL, NULL,
     "File of the API keys that HTTP asks for, relative to this file: lines  name: key  of 16 to "
     "256 "
     "characters, and comments with #; for its owner alone (0600). The environment's BATON_API_KEY "
     "is one more, or the only one. Names appear in logs and metrics, keys never. Neither: no "
     "keys, "
     "loopback only.",
     false},

    {"log.level", CFG_ENUM, "info", 0, 0, "debug|info|warn|error|off", NULL,
     "The least important lines to log.", false},
    {"log.format", CFG_ENUM, "text", 0, 0, "text|json", NULL, "Form of a log line.", false},
    {"log.site_lines_per_s", CFG_INT, "100", 0, 1000000, NULL, "lines/s",
     "Most lines a second from one place in the program; 0: no limit.", false},
    {"log.access", CFG_BOOL, "true", 0, 0, NULL, NULL,
     "A line for each request at its end, with where its time went.", false},
};

static const struct cfg_option node_options[] = {
    {"name", CFG_STRING, NULL, 1, 63, NULL, NULL,
     "The node's name: letters, digits, '-', '_' and '.'.", false},
    {"role", CFG_ENUM, NULL, 0, 0, "router|prefill|decode", NULL, "What the node does.", false},
    {"listen", CFG_STRING, "auto", 0, 120, NULL, NULL,
     "Where other nodes reach it: of a router all nodes, of a prefill node the decode nodes; a "
     "decode node does not listen. host:port. `auto` is a private socket that `baton up` makes; "
     "nodes on several machines need an address.",
     false},
    {"advertise", CFG_STRING, "", 0, 120, NULL, NULL,
     "The address that other nodes connect to, where it is not the one listened on (0.0.0.0, a "
     "container).",
     false},
    {"clients", CFG_STRING, "", 0, 120, NULL, NULL,
     "Of a router: where clients reach it over ZeroMQ, host:port. Empty: 127.0.0.1:5555. Port 0 "
     "takes a free one.",
     false},
    {"http", CFG_STRING, "", 0, 120, NULL, NULL,
     "Of a router: where it speaks HTTP (OpenAI's API), host:port, such as 127.0.0.1:8000. Empty: "
     "it does not. Port 0 takes a free one.",
     false},
};

static const struct cfg_section sections[] = {
    {OPTIONS_NODES,
     {node_options, N_ROWS(node_options)},
     "name",
     1024,
     "The fleet's nodes: at least one router, one prefill and one decode node."},
};

/* An API key (http_keys.h), and what the tests read: no options. */
static const char *const env_others[] = {"BATON_API_KEY", "BATON_ROOT", "BATON_BUILD", NULL};

static const struct cfg_schema schema = {
    .table = {fleet_options, N_ROWS(fleet_options)},
    .sections = sections,
    .n_sections = N_ROWS(sections),
    .env_prefix = "BATON_",
    .env_others = env_others,
};

const struct cfg_schema *options_schema(void)
{
    return &schema;
}
