// Brings the changing part of the admin page up to date, every two seconds while somebody looks.
const live = document.getElementById("live");

async function refresh() {
  if (document.hidden) return;
  const answer = await fetch(live.dataset.source);
  if (answer.ok) live.innerHTML = await answer.text();
}

setInterval(() => refresh().catch(() => {}), 2000);
