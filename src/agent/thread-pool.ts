/**
 * How many requests the kernel may be at for this process at once, imported before anything that asks for a thread. Four are
 * Node's usual: one of them waits for news of the network, a deletion of links takes 25 ms and the closing of a packet socket
 * 7, so that the links of a new Pod would have to wait for those of an ended one.
 */
process.env["UV_THREADPOOL_SIZE"] ??= "8";
