// Runs in the frame, on the provider's origin. It talks to the shop's origin and to nobody else.

const main = document.querySelector("main");
const form = document.querySelector("form");
const { origin, key } = main.dataset;
const inputs = {
  number: document.getElementById("number"),
  expiry: document.getElementById("expiry"),
  cvc: document.getElementById("cvc"),
};
const FIELD_OF = { number: "number", exp_month: "expiry", exp_year: "expiry", cvc: "cvc" };

const tell = (message) => parent.postMessage(message, origin);

function show(error) {
  for (const [name, input] of Object.entries(inputs)) {
    const wrong = error !== null && (FIELD_OF[error.param] ?? "number") === name;
    const text = document.getElementById(`${name}-error`);
    text.textContent = wrong ? error.message : "";
    text.hidden = !wrong;
    if (wrong) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }
}

function readExpiry(typed) {
  const found = /^\s*(\d{1,2})\s*[/.-]?\s*(\d{2}|\d{4})\s*$/.exec(typed);
  if (!found) return null;
  const year = Number(found[2]);
  return { exp_month: Number(found[1]), exp_year: year > 99 ? year : 2000 + year };
}

async function makeToken() {
  const expiry = readExpiry(inputs.expiry.value);
  if (expiry === null) {
    return { error: { code: "invalid_expiry_month", param: "exp_month", message: "Type the expiry as month and year: 12/34." } };
  }
  const card = { number: inputs.number.value, cvc: inputs.cvc.value, ...expiry };
  try {
    const response = await fetch("/v1/payment_methods", {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${key}` },
      body: JSON.stringify({ type: "card", card }),
    });
    const answer = await response.json();
    return response.ok ? { token: { id: answer.id, card: answer.card } } : { error: answer.error };
  } catch {
    return { error: { code: "unavailable", param: null, message: "The payment provider does not answer. Try again." } };
  }
}

let running = null;

addEventListener("message", async (event) => {
  if (event.source !== parent || event.origin !== origin) return;
  const { type, request } = event.data ?? {};
  if (type === "cartwheel:focus") inputs.number.focus();
  if (type !== "cartwheel:make-token") return;
  // Of requests at the same time, one makes a token.
  running ??= makeToken().finally(() => { running = null; });
  const made = await running;
  show(made.error ?? null);
  if (made.error) inputs[FIELD_OF[made.error.param] ?? "number"].focus();
  tell({ type: "cartwheel:token", request, ...made });
});

// The digits in groups, while they are typed at the end.
inputs.number.addEventListener("input", () => {
  const { value, selectionEnd } = inputs.number;
  if (selectionEnd !== value.length) return;
  const digits = value.replace(/\D/g, "");
  const groups = /^3[47]/.test(digits) ? [4, 6, 5] : [4, 4, 4, 4, 3];
  let rest = digits;
  const parts = groups.map((length) => {
    const part = rest.slice(0, length);
    rest = rest.slice(length);
    return part;
  });
  inputs.number.value = parts.filter(Boolean).join(" ") + rest;
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  tell({ type: "cartwheel:submit" });
});

new ResizeObserver(() => tell({ type: "cartwheel:height", height: main.offsetHeight })).observe(main);
tell({ type: "cartwheel:ready" });
