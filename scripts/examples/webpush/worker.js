// Always shows a notification: a browser may revoke the subscription of a page that does not.
self.addEventListener("push", (event) => {
  const { body, title } = event.data?.json() ?? { title: "News" }
  event.waitUntil(self.registration.showNotification(title, { body }))
})

self.addEventListener("notificationclick", (event) => {
  event.notification.close()
  event.waitUntil(self.clients.openWindow("/"))
})
