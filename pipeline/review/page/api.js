// Requests to the server. The token comes from the address; sessionStorage keeps it for a reload.

const TOKEN = "vitrollout-token";

function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return false;
  sessionStorage.setItem(TOKEN, given);
  history.replaceState(null, "", location.pathname);
  return true;
}

takeToken();
// a new address pasted into this tab, after a restart of the server
addEventListener("hashchange", () => takeToken() && location.reload());

// An answer other than success. Failures to reach the server stay TypeErrors of fetch().
export class AnswerError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const headers = { "X-Review-Token": sessionStorage.getItem(TOKEN) ?? "", ...options.headers };
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  const text = await answer.json().then((content) => content.error, () => answer.statusText);
  throw new AnswerError(answer.status, text);
}

export const getJson = async (path, options) => (await ask(path, options)).json();

export async function postJson(path, content) {
  const headers = { "Content-Type": "application/json" };
  const signal = AbortSignal.timeout(20_000);
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(content), signal })).json();
}

// Fetch a picture, for an `img`; the caller revokes the address.
export async function getPicture(path, signal) {
  return URL.createObjectURL(await (await ask(path, { signal })).blob());
}

// 32 hex digits. crypto.randomUUID() is missing on pages of other machines.
export const newId = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
