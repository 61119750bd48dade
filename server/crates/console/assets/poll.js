// Work that is repeated while a view is open and its page is seen.

/** Runs the work now and again after each pause, until the signal. A hidden page asks for nothing. */
export async function repeat(signal, pauseMs, work) {
  while (!signal.aborted) {
    if (!document.hidden) await work();
    await pause(signal, pauseMs);
  }
}

/** Resolves after some time, or when the signal is given. */
export function pause(signal, ms) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done);
  });
}
