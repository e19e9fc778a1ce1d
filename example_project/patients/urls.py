from django.urls import path

from . import views

app_name = "patients"
urlpatterns = [
    path("", views.patients, name="list"),
    path("patients/<int:pk>/", views.patient, name="detail"),
    path("patients/<int:pk>/ask/", views.ask, name="ask"),
]
