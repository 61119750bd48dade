// Repeats work while a view is open and its page is visible.

/** Runs `work` now and after each pause until the signal is aborted. Skips the work while the page is hidden. Passes an error
 *  of the work to `failed`, unless the signal is aborted. */
export async function repeat(signal, pauseMs, work, failed) {
  while (!signal.aborted) {
    try {
      if (!document.hidden) await work();
    } catch (error) {
      if (!signal.aborted) failed(error);
    }
    await pause(signal, pauseMs);
  }
}

/** Resolves after `ms` milliseconds, or when the signal is aborted. */
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
