// Subscribes when the user clicks: browsers ask for permission only then.
const show = (text) => document.querySelector("#state").textContent = text

const subscribe = async () => {
  const registration = await navigator.serviceWorker.register("/worker.js")
  const { publicKey } = await (await fetch("/key")).json()
  const subscription = await registration.pushManager.subscribe({
    userVisibleOnly: true,
    applicationServerKey: publicKey
  })
  const response = await fetch("/subscriptions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(subscription)
  })
  show(JSON.stringify(await response.json()))
}

document.querySelector("#subscribe").addEventListener("click", () => subscribe().catch((error) => show(String(error))))
