import koffi from "koffi";

/**
 * The few functions of the C library that Node has no call for. Each returns what the C function returns, or the negated
 * errno where that is -1 (as the kernel itself does): `must` in errors.ts turns that into a LinuxError. Little-endian,
 * 64-bit machines only, as the packages that we ship.
 */
interface Libc {
  /** Read-only, without waiting for a FIFO's other end. */
  open(path: string): number;
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array): number;
  /** Without waiting. */
  accept(fd: number): number;
  setsockopt(fd: number, level: number, option: number, value: Uint8Array): number;
  /** SO_ATTACH_FILTER: a program of classic BPF, as `struct sock_filter`s outside V8's heap. */
  attachFilter(fd: number, program: Uint8Array): number;
  /** Sends to `address`, or by default to the kernel (netlink). */
  sendto(fd: number, bytes: Uint8Array, flags: number, address: Uint8Array | null): number;
  /** The same on a pool thread, for requests which the kernel works on for long. The errno is lost there: -1 is -EIO. */
  sendLater(fd: number, bytes: Uint8Array): Promise<number>;
  read(fd: number, bytes: Uint8Array): number;
  write(fd: number, bytes: Uint8Array): number;
  /** Receives into `bytes`, and the address of the sender into `sender` if that is given. */
  recvfrom(fd: number, bytes: Uint8Array, flags: number, sender: Uint8Array | null): number;
  close(fd: number): number;
  /** The same on a pool thread: closing a packet socket waits for an RCU grace period, 6.5 ms. */
  closeLater(fd: number): Promise<void>;
  /** Waits on a pool thread for any of the `struct pollfd`s, without a time limit. The errno is lost: -1 is -EIO. */
  pollLater(pollfds: Uint8Array): Promise<number>;
  eventfd(): number;
  flock(fd: number, operation: number): number;
  setns(fd: number, kind: number): number;
  unshare(kinds: number): number;
  mount(source: string, target: string, type: string | null, flags: number): number;
  umount(target: string, flags: number): number;
  ioctl(fd: number, request: number, argument: Uint8Array | null): number;
  /** SIOCETHTOOL: `data` starts with the command and gets the answer. */
  ethtool(fd: number, ifname: string, data: Uint8Array): number;
  madvise(address: bigint, bytes: bigint, advice: number): number;
  strerror(errno: number): string;
}

const library = koffi.load(null);
const functions = {
  open: library.func("int open(const char *, int)"),
  socket: library.func("int socket(int, int, int)"),
  bind: library.func("int bind(int, void *, uint32_t)"),
  accept4: library.func("int accept4(int, void *, void *, int)"),
  setsockopt: library.func("int setsockopt(int, int, int, void *, uint32_t)"),
  sendto: library.func("intptr_t sendto(int, void *, uintptr_t, int, void *, uint32_t)"),
  recvfrom: library.func("intptr_t recvfrom(int, void *, uintptr_t, int, void *, void *)"),
  read: library.func("intptr_t read(int, void *, uintptr_t)"),
  write: library.func("intptr_t write(int, void *, uintptr_t)"),
  close: library.func("int close(int)"),
  poll: library.func("int poll(void *, ulong, int)"),
  eventfd: library.func("int eventfd(uint, int)"),
  flock: library.func("int flock(int, int)"),
  setns: library.func("int setns(int, int)"),
  unshare: library.func("int unshare(int)"),
  mount: library.func("int mount(const char *, const char *, const char *, ulong, void *)"),
  umount2: library.func("int umount2(const char *, int)"),
  ioctl: library.func("int ioctl(int, ulong, void *)"),
  madvise: library.func("int madvise(uintptr_t, uintptr_t, int)"),
  strerror: library.func("const char *strerror(int)"),
};

const siocEthtool = 0x8946;
const [solSocket, attachFilter, filterBytes] = [1, 26, 8];
/** O_CLOEXEC and O_NONBLOCK; eventfd has the same numbers. */
const cloexecNonblock = 0o2004000;
const eio = 5;

function result(returned: number): number {
  return returned === -1 ? -koffi.errno() : returned;
}

function later(call: { async: (...args: unknown[]) => void }, ...args: readonly unknown[]): Promise<number> {
  return new Promise((resolve, reject) => {
    call.async(...args, (error: unknown, returned: number) => {
      if (error) reject(error);
      else resolve(returned === -1 ? -eio : returned);
    });
  });
}

/** The C library of this process. */
export const libc: Libc = {
  open: (path) => result(functions.open(path, cloexecNonblock)),
  socket: (domain, type, protocol) => result(functions.socket(domain, type, protocol)),
  bind: (fd, address) => result(functions.bind(fd, address, address.length)),
  accept: (fd) => result(functions.accept4(fd, null, null, cloexecNonblock)),
  setsockopt: (fd, level, option, value) => result(functions.setsockopt(fd, level, option, value, value.length)),
  attachFilter: (fd, program) => {
    const fprog = Buffer.alloc(16); // struct sock_fprog
    fprog.writeUInt16LE(program.length / filterBytes, 0);
    fprog.writeBigUInt64LE(koffi.address(program), 8);
    return result(functions.setsockopt(fd, solSocket, attachFilter, fprog, fprog.length));
  },
  sendto: (fd, bytes, flags, address) =>
    result(functions.sendto(fd, bytes, bytes.length, flags, address, address?.length ?? 0)),
  sendLater: (fd, bytes) => later(functions.sendto, fd, bytes, bytes.length, 0, null, 0),
  recvfrom: (fd, bytes, flags, sender) =>
    result(functions.recvfrom(fd, bytes, bytes.length, flags, sender, sender === null ? null : lengthOf(sender))),
  read: (fd, bytes) => result(functions.read(fd, bytes, bytes.length)),
  write: (fd, bytes) => result(functions.write(fd, bytes, bytes.length)),
  close: (fd) => result(functions.close(fd)),
  closeLater: async (fd) => void (await later(functions.close, fd)),
  pollLater: (pollfds) => later(functions.poll, pollfds, pollfds.length / 8, -1),
  eventfd: () => result(functions.eventfd(0, cloexecNonblock)),
  flock: (fd, operation) => result(functions.flock(fd, operation)),
  setns: (fd, kind) => result(functions.setns(fd, kind)),
  unshare: (kinds) => result(functions.unshare(kinds)),
  mount: (source, target, type, flags) => result(functions.mount(source, target, type, flags, null)),
  umount: (target, flags) => result(functions.umount2(target, flags)),
  ioctl: (fd, request, argument) => result(functions.ioctl(fd, request, argument)),
  ethtool: (fd, ifname, data) => {
    // The address of `data` goes into struct ifreq, so its bytes must not be inside V8's moving heap.
    const pinned = Buffer.from(new ArrayBuffer(data.length));
    pinned.set(data);
    const ifreq = Buffer.alloc(40);
    ifreq.write(ifname, 0, 15, "latin1");
    ifreq.writeBigUInt64LE(koffi.address(pinned), 16);
    const returned = result(functions.ioctl(fd, siocEthtool, ifreq));
    data.set(pinned);
    return returned;
  },
  madvise: (address, bytes, advice) => result(functions.madvise(address, bytes, advice)),
  strerror: (errno) => functions.strerror(errno),
};

/** One for all: a call uses it up before it returns. */
const addressLength = Uint32Array.of(0);
const addressLengthBytes = new Uint8Array(addressLength.buffer);

function lengthOf(address: Uint8Array): Uint8Array {
  addressLength[0] = address.length;
  return addressLengthBytes;
}
