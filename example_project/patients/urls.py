from django.urls import path

from . import chat, jobs, views

app_name = "patients"
urlpatterns = [
    path("", views.patients, name="list"),
    path("patients/<int:pk>/", views.detail, name="detail"),
    path("patients/<int:pk>/ask/", views.ask, name="ask"),
    path("patients/<int:pk>/summarise/", jobs.summarise, name="summarise"),
    path("jobs/<uuid:run_id>/", jobs.job, name="job"),
    path("chat/", chat.chat, name="chat"),
    path("chat/decide/", chat.decide, name="decide"),
    path("chat/start-over/", chat.start_over, name="start-over"),
]
