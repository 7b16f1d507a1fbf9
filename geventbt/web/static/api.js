// Requests to the server, and its events. Paths are relative: the page may be mounted below any path.

let token = "";

export async function post(path, body, type = "application/json") {
  const send = () => ask(path, {
    method: "POST",
    headers: { "Content-Type": type, "X-Geventbt-Token": token },
    body: type === "application/json" ? JSON.stringify(body ?? {}) : body,
  });
  let response = await send();
  if (response.status === 409) {
    // The first request of the page, or of a server that was started again.
    token = response.headers.get("X-Geventbt-Token") ?? "";
    response = await send();
  }
  return answer(response);
}

export const get = async (path) => answer(await ask(path));

async function ask(path, options) {
  try {
    return await fetch(`api/${path}`, options);
  } catch {
    throw new Error("the server cannot be reached");
  }
}

// What is wrong is said as JSON, or as plain text by what stands before the app.
async function answer(response) {
  const text = await response.text();
  const found = parsed(text);
  if (response.ok && found !== null) return found;
  const isPlain = (response.headers.get("Content-Type") ?? "").startsWith("text/plain");
  throw new Error(found?.error ?? ((isPlain && text.trim()) || `the server answers ${response.status} ${response.statusText}`));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

// Listens while the page is seen: a hidden one costs neither side anything.
export function listen({ whole, delta, lost }) {
  let source = null;
  const open = () => {
    source = new EventSource("api/events");
    source.addEventListener("whole", (event) => whole(JSON.parse(event.data)));
    source.addEventListener("delta", (event) => delta(JSON.parse(event.data)));
    source.onerror = () => {
      lost();
      // The browser tries again by itself, except after an answer such as 503.
      if (source !== null && source.readyState === EventSource.CLOSED) {
        close();
        setTimeout(() => document.hidden || source || open(), 3000);
      }
    };
  };
  const close = () => {
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : source || open()));
  window.addEventListener("pagehide", close);
  if (!document.hidden) open();
}
