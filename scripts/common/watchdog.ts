// Loaded into each process of a test file: one that does not end, such as by a server that a failed test left, fails with its name,
// where the runner would wait for it for ever.
const minutesMax = 10;

setTimeout(() => {
  console.error(`${process.argv[1]}: it did not end in ${minutesMax} minutes; something of it is still open`);
  process.exit(1);
}, minutesMax * 60_000).unref();
