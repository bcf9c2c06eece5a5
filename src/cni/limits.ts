/** Upper bounds of everything that reaches us from a runtime, a plugin or a configuration file. */

/** A configuration on stdin, in bytes. Real ones have 1 to 20 KiB; 1 MiB must still work. */
export const stdinBytesMax = 4 * 1024 * 1024;
/** Levels of `{` and `[` in any JSON document. */
export const jsonDepthMax = 64;
/** Plugins in one network configuration list. */
export const pluginsMax = 64;
/** Interfaces, addresses and routes (each) in one result. */
export const resultItemsMax = 4096;
/** CNI_ARGS as text; the kernel allows 128 KiB for one variable. */
export const argsBytesMax = 128 * 1024;
/** Characters of an error's text, which may quote its input. Runtimes log it; an Event has room for 1,024. */
export const errorTextMax = 4 * 1024;
/** Environment variables in one frame. */
export const frameVariablesMax = 64;
/** The body of one frame, in bytes: mostly stdin and the environment. */
export const frameBytesMax = stdinBytesMax + 1024 * 1024;
