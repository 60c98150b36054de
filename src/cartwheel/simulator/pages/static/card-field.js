// The shop's page imports this from the provider, and gets a field that turns a card into a token:
//
//   import { mountCardField } from "http://127.0.0.1:8900/pages/static/card-field.js";
//   const field = await mountCardField(document.getElementById("card"));
//   const { token, error } = await field.makeToken();
//
// The number stays in a frame that the provider serves. The shop's page cannot read it.

const PROVIDER = new URL(import.meta.url).origin;
const LOADED_WITHIN_MS = 15_000;
const READY_AFTER_LOADING_MS = 3_000;
const ANSWER_WITHIN_MS = 15_000;

/**
 * Show the field in `place`, and return it when it can be used.
 *
 * `onSubmit` is called when the customer presses Enter in the field. An error of `makeToken` is
 * shown in the field already; it has a `code`, a `message` and perhaps a `param`.
 */
export async function mountCardField(place, { onSubmit = () => {} } = {}) {
  const frame = document.createElement("iframe");
  frame.title = "Card";
  frame.src = `${PROVIDER}/pages/card-field?origin=${encodeURIComponent(location.origin)}`;
  frame.referrerPolicy = "no-referrer";
  frame.width = "100%";
  frame.height = "190";
  frame.setAttribute("frameborder", "0");
  const waiting = new Map();
  let requests = 0;
  let isReady;
  const ready = new Promise((resolve) => { isReady = resolve; });

  function hear(event) {
    if (event.source !== frame.contentWindow || event.origin !== PROVIDER) return;
    const { type, request, height, token, error } = event.data ?? {};
    if (type === "cartwheel:ready") isReady();
    if (type === "cartwheel:height" && height > 0) frame.height = String(Math.ceil(height));
    if (type === "cartwheel:submit") onSubmit();
    if (type === "cartwheel:token") {
      waiting.get(request)?.({ token, error });
      waiting.delete(request);
    }
  }

  function send(message) {
    frame.contentWindow?.postMessage(message, PROVIDER);
  }

  function unmount() {
    removeEventListener("message", hear);
    frame.remove();
  }

  addEventListener("message", hear);
  const late = new Promise((_, reject) => {
    const giveUp = () => reject(new Error(`The card field of ${PROVIDER} is not available here.`));
    setTimeout(giveUp, LOADED_WITHIN_MS);
    // A browser that refuses to show the frame says only that it has loaded.
    frame.addEventListener("load", () => setTimeout(giveUp, READY_AFTER_LOADING_MS));
  });
  place.append(frame);
  try {
    await Promise.race([ready, late]);
  } catch (error) {
    unmount();
    throw error;
  }

  return {
    makeToken() {
      const request = ++requests;
      return new Promise((resolve) => {
        waiting.set(request, resolve);
        setTimeout(() => {
          if (waiting.delete(request)) {
            resolve({ error: { code: "unavailable", message: "The payment provider does not answer. Try again." } });
          }
        }, ANSWER_WITHIN_MS);
        send({ type: "cartwheel:make-token", request });
      });
    },
    focus() {
      frame.focus();
      send({ type: "cartwheel:focus" });
    },
    unmount,
  };
}
