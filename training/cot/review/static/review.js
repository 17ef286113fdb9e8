// The review page: shows one answer at a time and sends decisions. State lives on the server;
// what is kept here is the queue, the filter and the answer on screen.

const STEPS = ["modality", "analysis", "consideration", "diagnosis"];
const DECISIONS = { accept: "Accepted", edit: "Edited", reject: "Rejected" };
const FILTERS = {
  open: (entry) => !entry.decision,
  doubtful: (entry) => !entry.accepted,
  decided: (entry) => Boolean(entry.decision),
  all: () => true,
};
const CHECK_DELAY_MS = 300;

const at = (id) => document.getElementById(id);
const state = { queue: [], shown: [], place: 0, item: null, mode: "reading", busy: false };

async function request(path, body) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The review server does not answer. Is run.py review still running?");
  }
  const reply = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(reply.detail ?? `The server answers ${response.status}.`);
  return reply;
}

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

// --- the queue

function applyFilter() {
  const wanted = FILTERS[at("filter").value];
  state.shown = state.queue.flatMap((entry, number) => (wanted(entry) ? [number] : []));
  go(0);
}

async function go(place) {
  const some = state.shown.length > 0;
  at("main").hidden = !some;
  at("empty").hidden = some;
  state.place = Math.max(0, Math.min(place, state.shown.length - 1));
  // Nothing can be decided before it is seen.
  state.item = null;
  setMode("reading");
  showProgress();
  if (!some) return;
  const number = state.shown[state.place];
  try {
    const item = await request(`api/items/${number}`);
    // A faster key press may have moved on meanwhile.
    if (number === state.shown[state.place]) show(item, number);
  } catch (error) {
    say(error.message);
  }
}

function showProgress() {
  const decided = state.queue.filter((entry) => entry.decision).length;
  at("progress").max = Math.max(state.queue.length, 1);
  at("progress").value = decided;
  at("progress-text").textContent = `${decided} of ${state.queue.length} reviewed`;
  const some = state.shown.length > 0;
  at("position").textContent = some ? `${state.place + 1} / ${state.shown.length}` : "–";
  at("previous").disabled = state.place === 0;
  at("next").disabled = state.place >= state.shown.length - 1;
}

// --- one answer

function show(item, number) {
  state.item = item;
  say("");
  at("image").src = `api/items/${number}/image.png`;
  at("image").alt = `${item.modality} of the ${item.body_part}`;
  at("overlay").src = `api/items/${number}/overlay.png`;
  at("about").textContent =
    `${item.id} · ${item.modality} of the ${item.body_part} · ` +
    `written by ${item.generator}, round ${item.round}`;
  at("query").textContent = item.query;
  showVerdict(item.critic);
  showDecision(item.review);
  showTargets(item.targets);
  fill(item.answer);
}

function showVerdict(critic) {
  const open = critic.unchecked.map((claim) => `not checked: ${claim}`);
  showCritic(critic.accepted, [...critic.reasons, ...open], critic.name);
}

function showCritic(accepted, reasons, name) {
  at("critic").className = `critic ${accepted ? "good" : "bad"}`;
  at("critic-head").textContent = `${accepted ? "✓ Accepted" : "✗ Rejected"} by the critic (${name})`;
  at("critic-reasons").replaceChildren(...reasons.map((reason) => element("li", reason)));
}

function showDecision(review) {
  at("decision").hidden = !review;
  if (review) {
    const reason = review.reason ? `: ${review.reason}` : "";
    at("decision").textContent = `${DECISIONS[review.decision]} by a reviewer${reason}`;
  }
  for (const name of Object.keys(DECISIONS)) {
    at(name).classList.toggle("chosen", review?.decision === name);
  }
}

function showTargets(targets) {
  at("legend").replaceChildren(
    ...targets.map((target) => {
      const entry = element("li", "", target.present ? "" : "absent");
      const swatch = document.createElement("i");
      swatch.style.backgroundColor = target.colour ?? "transparent";
      const note = target.present ? (target.colour ? "" : " (outline not known)") : " (not in the image)";
      entry.append(...(target.colour ? [swatch] : []), target.name + note);
      return entry;
    }),
  );
  at("facts").replaceChildren(...targets.flatMap(factsOf));
}

function factsOf(target) {
  if (!target.present) return [element("p", `${target.name}: not in the image`)];
  if (!target.facts.length) return [element("p", `${target.name}: the mask is not known`)];
  const chips = element("div", "", "chips");
  chips.append(...target.facts.map((fact) => element("span", fact)));
  return [element("p", target.name), chips];
}

function fill(answer) {
  for (const step of STEPS) at(step).value = answer[step];
  fit();
}

function fit() {
  for (const step of STEPS) {
    at(step).style.height = "auto";
    at(step).style.height = `${at(step).scrollHeight + 2}px`;
  }
}

const typed = () => Object.fromEntries(STEPS.map((step) => [step, at(step).value]));

function setMode(mode) {
  state.mode = mode;
  // A field that is no longer typed into must not swallow the next key.
  const focused = document.activeElement;
  if (mode === "reading" && focused?.matches("input, textarea")) focused.blur();
  at("choices").hidden = mode !== "reading";
  at("editing").hidden = mode !== "editing";
  at("rejecting").hidden = mode !== "rejecting";
  at("steps").classList.toggle("editable", mode === "editing");
  for (const step of STEPS) at(step).readOnly = mode !== "editing";
}

function say(message) {
  at("message").textContent = message;
}

// --- decisions

async function decide(decision, reason = "") {
  if (state.busy || !state.item) return;
  state.busy = true;
  const number = state.shown[state.place];
  try {
    const review = await request(`api/items/${number}/review`, { decision, reason, answer: typed() });
    state.queue[number].decision = review.decision;
    if (state.place < state.shown.length - 1) {
      await go(state.place + 1);
    } else {
      await go(state.place);
      say(remaining());
    }
  } catch (error) {
    say(error.message);
  } finally {
    state.busy = false;
  }
}

function remaining() {
  const open = state.queue.filter(FILTERS.open).length;
  return open ? `End of this list; ${open} not reviewed.` : "All answers are reviewed.";
}

function startEdit() {
  if (!state.item) return;
  setMode("editing");
  at("analysis").focus();
}

function startReject() {
  if (!state.item) return;
  setMode("rejecting");
  at("reason").value = state.item.review?.reason ?? "";
  at("reason").focus();
}

function cancel() {
  const item = state.item;
  setMode("reading");
  say("");
  fill(item.answer);
  showVerdict(item.critic);
}

let pendingCheck = 0;
function checkSoon() {
  fit();
  clearTimeout(pendingCheck);
  const number = state.shown[state.place];
  pendingCheck = setTimeout(async () => {
    try {
      const verdict = await request(`api/items/${number}/check`, typed());
      if (state.mode !== "editing" || number !== state.shown[state.place]) return;
      showCritic(verdict.accepted, verdict.reasons, "grounded, of your edit");
    } catch (error) {
      say(error.message);
    }
  }, CHECK_DELAY_MS);
}

function toggleMask() {
  const hidden = at("overlay").classList.toggle("off");
  at("toggle").setAttribute("aria-pressed", String(!hidden));
}

// --- keys and buttons

const KEYS = {
  a: () => decide("accept"),
  e: startEdit,
  r: startReject,
  m: toggleMask,
  arrowleft: () => go(state.place - 1),
  arrowright: () => go(state.place + 1),
};

document.addEventListener("keydown", (event) => {
  if (state.mode !== "reading") {
    if (event.key === "Escape") cancel();
    if (state.mode === "editing" && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      decide("edit");
    }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const action = KEYS[event.key.toLowerCase()];
  if (!action) return;
  // Else the letter would land in the field that the action opens.
  event.preventDefault();
  action();
});

at("accept").addEventListener("click", () => decide("accept"));
at("edit").addEventListener("click", startEdit);
at("reject").addEventListener("click", startReject);
at("save").addEventListener("click", () => decide("edit"));
at("cancel-edit").addEventListener("click", cancel);
at("cancel-reject").addEventListener("click", cancel);
at("rejecting").addEventListener("submit", (event) => {
  event.preventDefault();
  decide("reject", at("reason").value);
});
at("previous").addEventListener("click", () => go(state.place - 1));
at("next").addEventListener("click", () => go(state.place + 1));
at("toggle").addEventListener("click", toggleMask);
at("filter").addEventListener("change", () => {
  at("filter").blur();
  applyFilter();
});
at("steps").addEventListener("input", checkSoon);
at("steps").addEventListener("submit", (event) => event.preventDefault());
addEventListener("resize", fit);

try {
  state.queue = await request("api/queue");
  applyFilter();
} catch (error) {
  at("empty").textContent = error.message;
  at("empty").hidden = false;
}
